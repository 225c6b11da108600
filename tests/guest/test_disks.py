# SPDX-License-Identifier: BSD-3-Clause
"""What users do with disks: file systems, checksums, discard, resize."""

import os

import pytest

from initiator import file, ram, target

MIB = 1 << 20

# Writes with a checksum in each block, then reads all of it back.
FIO = ('fio --name=v --filename=%s --rw=randwrite --bs=%s --size=%s '
       '--ioengine=%s --iodepth=%d --direct=1 --verify=crc32c '
       '--verify_fatal=1 --do_verify=1 --randseed=%d --output-format=terse '
       '--allow_file_create=1 %s')

FILL = """
set -e
for i in 1 2 3 4 5; do
    dd if=/dev/urandom of=/mnt/file$i bs=512k count=$i
    mkdir -p /mnt/dir$i; cp /mnt/file$i /mnt/dir$i/copy
done
cd /mnt; sha256sum file* dir*/copy >/tmp/sums; sync
"""


def fio(guest, filename, block, size, engine, depth, timeout=240, extra='',
        seed=1):
    guest('ulimit -l unlimited; ' + FIO % (
        filename, block, size, engine, depth, seed, extra), timeout=timeout)


def used(path):
    return os.stat(path).st_blocks * 512


@pytest.mark.parametrize('make, check, options', [
    ('mkfs.ext4 -q -E nodiscard', 'e2fsck -fn', 'discard'),
    ('modprobe xfs; mkfs.xfs -q -f', 'xfs_repair -n', 'noatime'),
], ids=['ext4', 'xfs'])
def test_file_system(guest, iscsi, start, tmp_path, make, check, options):
    """
    Made, mounted, filled, checksummed over an unmount and a new session,
    trimmed until the backing file is smaller, and found without a fault.
    """
    backing = tmp_path / 'disk'
    start(target([file(backing, size_mib=320)]))
    iscsi.login()
    disk = iscsi.disk()
    guest('%s %s 2>&1' % (make, disk))
    guest('mount -o %s %s /mnt' % (options, disk))
    guest(FILL, timeout=120)
    fio(guest, '/mnt/fio', '16k', '2m', 'libaio', 32)
    guest('umount /mnt')
    iscsi.logout()

    iscsi.login()
    disk = iscsi.disk()
    guest('mount %s /mnt && cd /mnt && sha256sum -c /tmp/sums' % disk)
    before = used(backing)
    # XFS frees in the background; it is done with it when it is unmounted.
    guest('rm /mnt/file* /mnt/dir*/copy; umount /mnt; mount %s /mnt; '
          'fstrim -v /mnt; umount /mnt' % disk)
    # 7.5 MiB in files, each there twice: most of it has to come back.
    assert before - used(backing) > 12 * MIB
    guest('%s %s 2>&1' % (check, disk))
    iscsi.logout()


@pytest.mark.parametrize('engine, block, depth, extra', [
    ('libaio', '4k', 128, ''),
    ('io_uring', '4k', 128, ''),
    pytest.param('libaio', '512', 32, '', marks=pytest.mark.long),
    ('libaio', '1m', 8, '--number_ios=16'),
    ('io_uring', '8k', 64, '--rw=randrw --verify_backlog=64'),
], ids=['aio', 'uring', 'sectors', 'large', 'mixed'])
def test_fio(guest, iscsi, start, tmp_path, engine, block, depth, extra):
    """On a disk itself, with depths up to the guide's 128."""
    start(target([file(tmp_path / 'disk')]))
    iscsi.login({'node.session.cmds_max': '4096',
                 'node.session.queue_depth': '128'})
    size = {'512': '256k', '1m': '16m'}.get(block, '2m')
    fio(guest, iscsi.disk(), block, size, engine, depth, extra=extra)
    iscsi.logout()


@pytest.mark.parametrize('digest', [
    pytest.param('None', marks=pytest.mark.long), 'CRC32C'])
def test_blocks_of_4096_bytes(guest, iscsi, start, digest):
    start(target([ram(block_size=4096)]))
    iscsi.login({'node.conn[0].iscsi.HeaderDigest': digest,
                 'node.conn[0].iscsi.DataDigest': digest})
    name = iscsi.disk().split('/')[-1]
    assert guest('cat /sys/block/%s/queue/logical_block_size' %
                 name) == '4096'
    fio(guest, iscsi.disk(), '4k', '1m', 'libaio', 32)
    iscsi.logout()


def test_online_resize(guest, iscsi, start, tmp_path):
    """A mounted disk grows: the guest sees it, and so does its file system."""
    backing = tmp_path / 'disk'
    tgt = start(target([file(backing, size_mib=64)]))
    iscsi.login()
    disk = iscsi.disk()
    name = disk.split('/')[-1]
    guest('mkfs.ext4 -q %s && mount %s /mnt && '
          'dd if=/dev/urandom of=/mnt/a bs=64k count=16 2>&1 && '
          'sha256sum /mnt/a >/tmp/sums && sync' % (disk, disk))
    os.truncate(backing, 128 * MIB)
    tgt.rpc('bdev_aio_rescan', name='File0')
    # The kernel is told by a unit attention, but looks itself only when asked.
    guest('echo 1 >/sys/block/%s/device/rescan' % name)
    assert int(guest('cat /sys/block/%s/size' % name)) == 128 * MIB // 512
    guest('resize2fs %s 2>&1; sha256sum -c /tmp/sums' % disk)
    assert int(guest("df -k /mnt | tail -n 1 | awk '{print $2}'")) > 100 << 10
    guest('dd if=/dev/zero of=/mnt/b bs=1M count=80 conv=fsync 2>&1; rm '
          '/mnt/b; umount /mnt; e2fsck -fn %s 2>&1' % disk, timeout=120)
    assert 'Capacity data has changed' in guest('dmesg')
    iscsi.logout()


def test_luns_come_and_go(guest, iscsi, start):
    """While a file system on another LUN is in use and notices nothing."""
    tgt = start(target([ram('Malloc0')]))
    iscsi.login()
    disk = iscsi.disk()
    guest('mkfs.ext4 -q %s && mount %s /mnt' % (disk, disk))
    work = guest.begin('for i in $(seq 20); do dd if=/dev/urandom '
                       'of=/mnt/f bs=64k count=8 conv=fsync || exit 1; done')
    for n in range(2):
        tgt.rpc('bdev_malloc_create', name='Malloc1', num_blocks=8192,
                block_size=512)
        tgt.rpc('iscsi_target_node_add_lun', name='iqn.2016-06.io.spdk:disk1',
                bdev_name='Malloc1', lun_id=7)
        guest('iscsiadm -m session --rescan')
        guest.until('ls -d /sys/class/iscsi_session/session*/device/'
                    'target*/*:7/block/*')
        new = iscsi.disk(7)
        guest('dd if=/dev/urandom of=%s bs=64k count=8 oflag=direct 2>&1' %
              new)
        if n == 0:
            tgt.rpc('iscsi_target_node_remove_lun',
                    name='iqn.2016-06.io.spdk:disk1', lun_id=7)
            tgt.rpc('bdev_malloc_delete', name='Malloc1')
        else:
            # The disk goes, and takes its LUN along.
            tgt.rpc('bdev_malloc_delete', name='Malloc1')
        failed = guest.run('dd if=%s of=/dev/null bs=4k count=1 '
                           'iflag=direct 2>&1' % new, check=False)
        assert failed.rc != 0
        guest('echo 1 >/sys/block/%s/device/delete' % new.split('/')[-1])
    work.wait(240)
    guest('umount /mnt; e2fsck -fn %s 2>&1' % disk)
    iscsi.logout()
