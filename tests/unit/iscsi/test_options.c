/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "iscsi/options.h"

static void test_defaults(void **state)
{
	struct iscsi_options *o = malloc(sizeof(*o));
	const char *why = NULL;

	assert_non_null(o);
	memset(o, 0xff, sizeof(*o));
	iscsi_options_default(o);
	assert_int_equal(iscsi_options_check(o, &why), 0);
	assert_null(why);
	assert_string_equal(o->auth_file, "");
	assert_string_equal(o->node_base, "iqn.2016-06.io.spdk");
	assert_int_equal(o->max_sessions, 128);
	assert_int_equal(o->max_connections_per_session, 2);
	assert_int_equal(o->max_queue_depth, 64);
	assert_int_equal(o->default_time2wait, 2);
	assert_int_equal(o->default_time2retain, 20);
	assert_int_equal(o->first_burst_length, 65536);
	assert_int_equal(o->max_burst_length, 1048576);
	assert_int_equal(o->max_recv_data_segment_length, 262144);
	assert_int_equal(o->max_outstanding_r2t, 1);
	assert_false(o->initial_r2t);
	assert_true(o->immediate_data);
	assert_false(o->allow_duplicated_isid);
	assert_int_equal(o->error_recovery_level, 0);
	assert_int_equal(o->nop_timeout, 60);
	assert_int_equal(o->nop_in_interval, 30);
	assert_int_equal(o->login_timeout, 15);
	assert_false(o->discovery_auth.require_chap);
	assert_int_equal(o->discovery_auth.chap_group, 0);
	free(o);
}

/* Both sides of every range. */
static void test_ranges(void **state)
{
#define ROW(field, min, max)                                            \
	{                                                               \
#field, offsetof(struct iscsi_options, field), min, max \
	}
	static const struct {
		const char *name;
		size_t offset;
		uint32_t min, max;
	} rows[] = {
		ROW(max_sessions, 1, 65535),
		ROW(max_connections_per_session, 1, 65535),
		ROW(max_queue_depth, 1, 256),
		ROW(default_time2wait, 0, 3600),
		ROW(default_time2retain, 0, 3600),
		ROW(max_burst_length, 512, 16777215),
		ROW(first_burst_length, 512, 16777215),
		ROW(max_recv_data_segment_length, 512, 16777215),
		ROW(max_outstanding_r2t, 1, 65535),
		ROW(error_recovery_level, 0, 2),
		ROW(nop_in_interval, 0, 60),
		ROW(nop_timeout, 0, 2147483647),
		ROW(login_timeout, 1, 3600),
	};
#undef ROW
	struct iscsi_options *o = malloc(sizeof(*o));

	assert_non_null(o);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint32_t *field;
		const char *why;

		iscsi_options_default(o);
		field = (void *)((char *)o + rows[i].offset);
		/* Out of the way of the rule between the two. */
		o->first_burst_length = 512;
		o->max_burst_length = 16777215;

		*field = rows[i].min;
		assert_int_equal(iscsi_options_check(o, &why), 0);
		*field = rows[i].max;
		assert_int_equal(iscsi_options_check(o, &why), 0);
		why = NULL;
		*field = rows[i].max + 1;
		assert_int_equal(iscsi_options_check(o, &why), -EINVAL);
		assert_non_null(strstr(why, rows[i].name));
		if (rows[i].min == 0)
			continue;
		*field = rows[i].min - 1;
		assert_int_equal(iscsi_options_check(o, NULL), -EINVAL);
	}
	free(o);
}

static void test_rules(void **state)
{
	struct iscsi_options *o = malloc(sizeof(*o));
	const char *why;

	assert_non_null(o);
	iscsi_options_default(o);
	o->first_burst_length = o->max_burst_length = 4096;
	assert_int_equal(iscsi_options_check(o, &why), 0);
	o->first_burst_length++;
	assert_int_equal(iscsi_options_check(o, &why), -EINVAL);

	iscsi_options_default(o);
	strcpy(o->node_base, "no name");
	assert_int_equal(iscsi_options_check(o, &why), -EINVAL);

	iscsi_options_default(o);
	o->discovery_auth.mutual_chap = true;
	assert_int_equal(iscsi_options_check(o, &why), -EINVAL);
	o->discovery_auth.require_chap = true;
	assert_int_equal(iscsi_options_check(o, &why), 0);
	o->discovery_auth.disable_chap = true;
	assert_int_equal(iscsi_options_check(o, &why), -EINVAL);
	free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
