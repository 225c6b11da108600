/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/conf_rows.h"

#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "control/rpc_tables.h"

#define COMMENT                                                      \
	{                                                            \
		.name = "Comment", .form = "TEXT", .repeated = true, \
		.many = true, .help = "for people"                   \
	}
#define IGNORE(key)                         \
	{                                   \
		.name = key, .unused = true \
	}

static const struct conf_key global_keys[] = {
	COMMENT,
	{.name = "ReactorMask",
	 .form = "MASK",
	 .fallback = "0x1",
	 .help = "CPUs to run on: hexadecimal, or a list such as [0,2-4]"},
	{.name = "ReactorPollUs",
	 .form = "MICROSECONDS",
	 .fallback = "50",
	 .help = "poll at most this long for more work before sleeping; "
		 "0 = never"},
	IGNORE("SharedMemoryID"),
	IGNORE("TpointGroupMask"),
	IGNORE("NoPci"),
	IGNORE("PciBlacklist"),
	IGNORE("PciWhitelist"),
	IGNORE("LogFacility"),
	{},
};

static const struct conf_key iscsi_keys[] = {
	COMMENT,
	{.name = "DiscoveryAuthMethod",
	 .form = "None|Auto|CHAP|CHAP Mutual",
	 .fallback = "Auto",
	 .many = true,
	 .help = "authentication of discovery sessions"},
	{.name = "DiscoveryAuthGroup",
	 .form = "None|AuthGroupN",
	 .fallback = "None",
	 .help = "secrets for discovery"},
	{},
};

static const struct conf_key malloc_keys[] = {
	COMMENT,
	{.name = "NumberOfLuns",
	 .form = "1..4096",
	 .help = "RAM disks: Malloc0, Malloc1, ... (required)"},
	{.name = "LunSizeInMB",
	 .form = "MiB",
	 .help = "size of each (required)"},
	{.name = "BlockSize",
	 .form = "BYTES",
	 .fallback = "512",
	 .help = "block size of each: 512..65536, a power of 2"},
	{},
};

static const struct conf_key aio_keys[] = {
	COMMENT,
	{.name = "AIO",
	 .form = "FILE NAME [BLOCKSIZE]",
	 .repeated = true,
	 .many = true,
	 .help = "a disk of a regular file or a block device"},
	{},
};

static const struct conf_key null_keys[] = {
	COMMENT,
	{.name = "Dev",
	 .form = "NAME MiB [BLOCKSIZE]",
	 .repeated = true,
	 .many = true,
	 .help = "a disk that discards writes and reads zeroes"},
	{},
};

static const struct conf_key split_keys[] = {
	COMMENT,
	{.name = "Split",
	 .form = "BDEV COUNT [MiB]",
	 .repeated = true,
	 .many = true,
	 .help = "cuts a disk into BDEVp0, BDEVp1, ..."},
	{},
};

static const struct conf_key error_keys[] = {
	COMMENT,
	{.name = "BdevError",
	 .form = "BDEV",
	 .repeated = true,
	 .help = "EE_BDEV: a disk that can be told to fail"},
	{},
};

static const struct conf_key passthru_keys[] = {
	COMMENT,
	{.name = "PT",
	 .form = "BDEV NAME",
	 .repeated = true,
	 .many = true,
	 .help = "the same disk by another name"},
	{},
};

static const struct conf_key pg_keys[] = {
	COMMENT,
	{.name = "Portal",
	 .form = "LABEL HOST[:PORT]",
	 .repeated = true,
	 .many = true,
	 .help = "a numeric address, [IPv6], * or [*]; port 3260"},
	{},
};

static const struct conf_key ig_keys[] = {
	COMMENT,
	{.name = "InitiatorName",
	 .form = "NAME|!NAME|ANY|!ANY",
	 .repeated = true,
	 .help = "the first that matches decides"},
	{.name = "Netmask",
	 .form = "ANY|a.b.c.d[/LEN]|[IPv6][/LEN]",
	 .repeated = true,
	 .help = "where they may come from"},
	{},
};

static const struct conf_key node_keys[] = {
	COMMENT,
	{.name = "TargetName",
	 .form = "NAME",
	 .help = "complete, or what follows NodeBase (required)"},
	{.name = "TargetAlias", .form = "TEXT", .help = "shown at login"},
	{.name = "Mapping",
	 .form = "PortalGroupX InitiatorGroupY",
	 .repeated = true,
	 .many = true,
	 .help = "where it is reached, and by whom (at least one)"},
	{.name = "AuthMethod",
	 .form = "None|Auto|CHAP|CHAP Mutual",
	 .fallback = "Auto",
	 .many = true,
	 .help = "authentication of logins"},
	{.name = "AuthGroup",
	 .form = "None|AuthGroupN",
	 .fallback = "None",
	 .help = "its secrets"},
	{.name = "UseDigest",
	 .form = "Auto|Header|Data",
	 .fallback = "Auto",
	 .many = true,
	 .help = "digests that are required"},
	{.name = "QueueDepth",
	 .form = "1..MaxQueueDepth",
	 .fallback = "MaxQueueDepth",
	 .help = "command window"},
	{.name = "LUN",
	 .form = "BDEV",
	 .help = "LUN0 (required) to LUN255: block devices"},
	{},
};

#define SKIP(section)                           \
	{                                       \
		.name = section, .unused = true \
	}

const struct conf_section_row conf_section_rows[] = {
	{.name = "Global",
	 .keys = global_keys,
	 .translate = conf_translate_global,
	 .help = "the process"},
	{.name = "iSCSI",
	 .keys = iscsi_keys,
	 .params = rpc_iscsi_option_rows,
	 .translate = conf_translate_iscsi,
	 .help = "options of all targets"},
	{.name = "Malloc",
	 .keys = malloc_keys,
	 .translate = conf_translate_malloc,
	 .help = "RAM disks"},
	{.name = "AIO",
	 .keys = aio_keys,
	 .translate = conf_translate_aio,
	 .help = "files and block devices"},
	{.name = "Null",
	 .keys = null_keys,
	 .translate = conf_translate_null,
	 .help = "disks that keep nothing"},
	{.name = "Split",
	 .keys = split_keys,
	 .translate = conf_translate_split,
	 .help = "parts of disks"},
	{.name = "BdevError",
	 .keys = error_keys,
	 .translate = conf_translate_error,
	 .help = "failing disks"},
	{.name = "Passthru",
	 .keys = passthru_keys,
	 .translate = conf_translate_passthru,
	 .help = "disks once more"},
	{.name = "PortalGroup",
	 .numbered = true,
	 .keys = pg_keys,
	 .translate = conf_translate_pg,
	 .help = "where targets listen"},
	{.name = "InitiatorGroup",
	 .numbered = true,
	 .keys = ig_keys,
	 .translate = conf_translate_ig,
	 .help = "who may log in"},
	{.name = "TargetNode",
	 .numbered = true,
	 .keys = node_keys,
	 .translate = conf_translate_node,
	 .help = "a target and its LUNs"},
	/* Huge pages, PCI, drivers of hardware, other programs of SPDK. */
	SKIP("Nvme"),
	SKIP("Ioat"),
	SKIP("Rpc"),
	SKIP("VirtioPci"),
	{.name = "VirtioUser", .numbered = true, .unused = true},
	SKIP("Blobfs"),
	SKIP("Gpt"),
	SKIP("Bdev"),
	SKIP("Ceph"),
	SKIP("Pmem"),
	SKIP("QoS"),
	SKIP("OCF"),
	SKIP("crypto"),
	SKIP("Vmd"),
	SKIP("Ftl"),
	SKIP("iSCSI_Initiator"),
	{.name = "RAID", .numbered = true, .unused = true},
	{},
};

bool conf_row_is(const struct conf_section_row *row,
		 const struct conf_section *s)
{
	size_t len = strlen(row->name);

	if (!row->numbered)
		return strcasecmp(row->name, s->name) == 0;
	if (strncasecmp(row->name, s->name, len) != 0)
		return false;
	return strspn(s->name + len, "0123456789") == strlen(s->name + len);
}

int conf_lun_of(const char *key)
{
	uint32_t lun;

	if (strncasecmp(key, "LUN", 3) != 0 || key[3] < '0' || key[3] > '9' ||
	    (key[3] == '0' && key[4] != '\0') ||
	    parse_u32(key + 3, 0, SCSI_LUNS_MAX - 1, &lun) < 0)
		return -1;
	return (int)lun;
}

const struct conf_key *conf_key_find(const struct conf_key *keys,
				     const char *name)
{
	bool lun = conf_lun_of(name) >= 0;

	for (const struct conf_key *k = keys; k && k->name; k++) {
		if (strcmp(k->name, "LUN") == 0 ? lun
						: !strcasecmp(k->name, name))
			return k;
	}
	return NULL;
}
