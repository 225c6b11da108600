/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows of parameters: decoding, ranges, defaults; and all real tables. */
#include "../unit.h"

#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "control/conf_rows.h"
#include "control/cpumask.h"
#include "control/params.h"
#include "control/rpc_tables.h"

struct sample {
	bool on, flag;
	int32_t i;
	uint32_t u32;
	uint64_t u64;
	const char *text, *uuid;
	json_t *texts, *ints, *objects;
};

#define FIELD(f) .offset = offsetof(struct sample, f)

static const struct param sub_rows[] = {
	{.name = "n", .type = PARAM_INT, .required = true, FIELD(i)},
	{},
};

static const struct param sample_rows[] = {
	{.name = "on", .type = PARAM_BOOL, .fallback = "true", FIELD(on)},
	{.name = "flag", .key = "Flag", .type = PARAM_FLAG, FIELD(flag)},
	{.name = "i",
	 .key = "Int",
	 .type = PARAM_INT,
	 .min = -5,
	 .max = 5,
	 .fallback = "-1",
	 FIELD(i)},
	{.name = "u32", .type = PARAM_U32, FIELD(u32)},
	{.name = "u64",
	 .type = PARAM_U64,
	 .min = 1,
	 .max = INT64_MAX,
	 .fallback = "7",
	 FIELD(u64)},
	{.name = "text",
	 .key = "Text",
	 .type = PARAM_TEXT,
	 .min = 1,
	 .max = 3,
	 FIELD(text)},
	{.name = "uuid", .type = PARAM_UUID, FIELD(uuid)},
	{.name = "texts",
	 .type = PARAM_TEXTS,
	 .min = 1,
	 .max = 2,
	 FIELD(texts)},
	{.name = "ints", .type = PARAM_INTS, FIELD(ints)},
	{.name = "objects",
	 .type = PARAM_OBJECTS,
	 .sub = sub_rows,
	 FIELD(objects)},
	{.name = "old", .type = PARAM_UNUSED},
	{},
};

static json_t *parse(const char *text)
{
	json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(j);
	return j;
}

static void test_defaults(void **state)
{
	struct sample s;
	uint64_t given;
	char why[PARAM_WHY_MAX];

	memset(&s, 0xa5, sizeof(s));
	assert_int_equal(
		params_decode(sample_rows, NULL, &s, &given, why, sizeof(why)),
		0);
	assert_true(s.on && !s.flag && s.i == -1 && s.u32 == 0 && s.u64 == 7);
	assert_null(s.text);
	assert_null(s.texts);
	assert_int_equal(given, 0);
}

/* @bad: the name in the complaint; NULL: it is good. */
static const struct {
	const char *params, *bad;
} rows[] = {
	{"{}", NULL},
	{"{\"on\":false,\"flag\":1}", NULL},
	{"{\"on\":0}", "'on'"},
	{"{\"flag\":2}", "'flag'"},
	{"{\"flag\":\"1\"}", "'flag'"},
	{"{\"i\":-5}", NULL},
	{"{\"i\":5}", NULL},
	{"{\"i\":-6}", "'i' is not -5..5"},
	{"{\"i\":6}", "'i' is not -5..5"},
	{"{\"i\":1.5}", "'i' is not an integer"},
	{"{\"i\":\"1\"}", "'i' is not an integer"},
	{"{\"i\":null}", "'i' is not an integer"},
	{"{\"u32\":4294967295}", NULL},
	{"{\"u32\":4294967296}", "'u32'"},
	{"{\"u32\":-1}", "'u32'"},
	{"{\"u64\":9223372036854775807}", NULL},
	{"{\"u64\":0}", "'u64'"},
	{"{\"text\":\"abc\"}", NULL},
	{"{\"text\":\"abcd\"}", "'text'"},
	{"{\"text\":\"\"}", "'text'"},
	{"{\"text\":1}", "'text' is not a string"},
	{"{\"uuid\":\"01234567-89ab-cdef-ABCD-0123456789ab\"}", NULL},
	{"{\"uuid\":\"01234567-89ab-cdef-ABCD-0123456789a\"}", "'uuid'"},
	{"{\"uuid\":\"01234567-89ab-cdef-ABCD-0123456789abc\"}", "'uuid'"},
	{"{\"uuid\":\"0123456789ab-cdef-ABCD-0123456789ab-000\"}", "'uuid'"},
	{"{\"uuid\":\"g1234567-89ab-cdef-ABCD-0123456789ab\"}", "'uuid'"},
	{"{\"texts\":[\"a\",\"b\"]}", NULL},
	{"{\"texts\":[]}", "'texts'"},
	{"{\"texts\":[\"a\",\"b\",\"c\"]}", "'texts'"},
	{"{\"texts\":[\"a\",1]}", "'texts'"},
	{"{\"texts\":\"a\"}", "'texts' is not an array"},
	{"{\"ints\":[1,-2147483648]}", NULL},
	{"{\"ints\":[2147483648]}", "'ints'"},
	{"{\"ints\":[true]}", "'ints'"},
	{"{\"objects\":[{\"n\":1}]}", NULL},
	{"{\"objects\":[{\"n\":1},{}]}", "'n' is missing"},
	{"{\"objects\":[{\"n\":1,\"m\":2}]}", "unknown parameter 'm'"},
	{"{\"objects\":[1]}", "'objects'"},
	{"{\"old\":[{}]}", NULL},
	{"{\"new\":1}", "unknown parameter 'new'"},
	{"[]", "not an object"},
	{"1", "not an object"},
};

static void test_rows(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *params = parse(rows[i].params);
		char why[PARAM_WHY_MAX] = "";
		struct sample s;
		int r, checked;

		r = params_decode(sample_rows, params, &s, NULL, why,
				  sizeof(why));
		checked = params_decode(sample_rows, params, NULL, NULL, why,
					sizeof(why));
		assert_int_equal(r, rows[i].bad ? -EINVAL : 0);
		assert_int_equal(checked, r);
		if (rows[i].bad)
			assert_non_null(strstr(why, rows[i].bad));
		json_decref(params);
	}
}

static void test_given(void **state)
{
	json_t *params = parse("{\"i\":-1,\"text\":\"x\"}");
	char why[PARAM_WHY_MAX];
	struct sample s;
	uint64_t given;

	assert_int_equal(params_decode(sample_rows, params, &s, &given, why,
				       sizeof(why)),
			 0);
	assert_true(params_given(sample_rows, given, "i"));
	assert_true(params_given(sample_rows, given, "text"));
	assert_false(params_given(sample_rows, given, "on"));
	assert_string_equal(s.text, "x");
	json_decref(params);
}

static const struct {
	const char *key, *text, *json; /* NULL: refused */
} texts[] = {
	{"Flag", "Yes", "true"},    {"Flag", "y", "true"},
	{"Flag", "TRUE", "true"},   {"Flag", "No", "false"},
	{"Flag", "n", "false"},	    {"Flag", "False", "false"},
	{"Flag", "1", NULL},	    {"Flag", "", NULL},
	{"Int", "5", "5"},	    {"Int", "-5", "-5"},
	{"Int", "6", NULL},	    {"Int", "5x", NULL},
	{"Int", "", NULL},	    {"Int", "0x5", NULL},
	{"Text", "abc", "\"abc\""}, {"Text", "abcd", NULL},
	{"Text", "\xff", NULL},
};

static void test_texts(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const struct param *row =
			param_find_key(sample_rows, texts[i].key);
		char why[PARAM_WHY_MAX] = "";
		json_t *value = NULL;
		int r;

		assert_non_null(row);
		r = param_from_text(row, texts[i].text, &value, why,
				    sizeof(why));
		assert_int_equal(r, texts[i].json ? 0 : -EINVAL);
		if (r == 0) {
			char *dump = json_dumps(value, JSON_ENCODE_ANY);

			assert_string_equal(dump, texts[i].json);
			free(dump);
			json_decref(value);
		} else {
			assert_non_null(strstr(why, texts[i].key));
		}
	}
}

/* ---- The tables that ship. */

static void check_table(const struct param *rows_of)
{
	static char out[1 << 16];
	char text[128];

	for (const struct param *r = rows_of; r->name; r++) {
		assert_true(r - rows_of < PARAMS_MAX);
		assert_non_null(r->help);
		assert_true(r->min <= r->max);
		assert_true(r->type != PARAM_OBJECTS || r->sub);
		assert_ptr_equal(param_find(rows_of, r->name), r);
		param_describe(r, text, sizeof(text));
		if (r->sub)
			check_table(r->sub);
	}
	/* Defaults are of their type; nothing required: it decodes. */
	params_decode(rows_of, NULL, out, NULL, text, sizeof(text));
}

static void test_methods(void **state)
{
	size_t n = 0;

	for (size_t i = 0; rpc_tables[i]; i++) {
		for (const struct rpc_method *m = rpc_tables[i]; m->name; m++) {
			assert_ptr_equal(rpc_find(m->name), m);
			for (size_t o = 0; o < 4 && m->old[o]; o++)
				assert_ptr_equal(rpc_find(m->old[o]), m);
			assert_true(m->states & RPC_ALWAYS);
			assert_non_null(m->run);
			assert_non_null(m->help);
			if (m->params)
				check_table(m->params);
			n++;
		}
	}
	assert_true(n > 60);
	assert_null(rpc_find("nosuch"));
	assert_null(rpc_find(""));
}

static void test_sections(void **state)
{
	const struct conf_section_row *row = conf_section_rows;

	for (; row->name; row++) {
		assert_int_equal(row->unused, row->translate == NULL);
		for (const struct conf_key *k = row->keys; k && k->name; k++) {
			assert_true(k->unused || (k->form && k->help));
			assert_null(param_find_key(row->params, k->name));
		}
	}
	assert_int_equal(conf_lun_of("LUN0"), 0);
	assert_int_equal(conf_lun_of("lun255"), 255);
	assert_int_equal(conf_lun_of("LUN256"), -1);
	assert_int_equal(conf_lun_of("LUN"), -1);
	assert_int_equal(conf_lun_of("LUN00"), -1);
	assert_int_equal(conf_lun_of("LUN1x"), -1);
	assert_int_equal(conf_lun_of("LUNx"), -1);
}

/* ---- Masks of CPUs. */

static const struct {
	const char *text;
	int result;
	uint32_t n, cores[6];
} masks[] = {
	{"0x1", 0, 1, {0}},
	{"1", 0, 1, {0}},
	{"0xF000000", 0, 4, {24, 25, 26, 27}},
	{"0X5", 0, 2, {0, 2}},
	{"00000000000000000000000000000000000a", 0, 2, {1, 3}},
	{"[0]", 0, 1, {0}},
	{"[2,0-1]", 0, 3, {0, 1, 2}},
	{"[4095]", 0, 1, {4095}},
	{"[1,1,1-2]", 0, 2, {1, 2}},
	{"[4096]", -ERANGE, 0, {0}},
	{"[0-300]", -E2BIG, 0, {0}},
	{"", -EINVAL, 0, {0}},
	{"0", -EINVAL, 0, {0}},
	{"0x", -EINVAL, 0, {0}},
	{"g", -EINVAL, 0, {0}},
	{"[]", -EINVAL, 0, {0}},
	{"[0", -EINVAL, 0, {0}},
	{"[0,]", -EINVAL, 0, {0}},
	{"[2-1]", -EINVAL, 0, {0}},
	{"[0]x", -EINVAL, 0, {0}},
	{"[-1]", -EINVAL, 0, {0}},
};

static void test_cpumasks(void **state)
{
	uint32_t cores[REACTORS_MAX], n;

	for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
		assert_int_equal(cpumask_parse(masks[i].text, cores, &n),
				 masks[i].result);
		if (masks[i].result < 0)
			continue;
		assert_int_equal(n, masks[i].n);
		assert_memory_equal(cores, masks[i].cores, n * sizeof(*cores));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_given),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_cpumasks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
