/* SPDX-License-Identifier: BSD-3-Clause */
/* The grammar of the configuration file, fault by fault, with its lines. */
#include "../unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "control/conf_parse.h"

/* What was read, as text: "[name#number@line] key@line=v|v ..." */
static void print_conf(const struct conf *conf, struct buf *out)
{
	const struct conf_section *s;
	const struct conf_item *item;

	list_for_each(s, &conf->sections, link) {
		buf_printf(out, "[%s#%u@%u]", s->name, s->number, s->line);
		list_for_each(item, &s->items, link) {
			buf_printf(out, " %s@%u=", item->key, item->line);
			for (uint32_t i = 0; i < item->nvalues; i++)
				buf_printf(out, "%s%s", i ? "|" : "",
					   item->values[i]);
		}
	}
	buf_append_byte(out, '\0');
}

static const struct {
	const char *text, *read, *errors;
} rows[] = {
	{"[A]\n", "[A#0@1]", ""},
	{"[A]", "[A#0@1]", ""},
	{"\n\n  [A]  \r\n", "[A#0@3]", ""},
	{"# c\n#\n[A]\n # c\nk v\n", "[A#0@3] k@5=v", ""},
	/* Values: blanks, quotes, backslashes. */
	{"[A]\nk\n", "[A#0@1] k@2=", ""},
	{"[A]\n\tk  a\t b \r\n", "[A#0@1] k@2=a|b", ""},
	{"[A]\nk a # b\n", "[A#0@1] k@2=a|#|b", ""},
	{"[A]\nk \"a b\" 'c d'\n", "[A#0@1] k@2=a b|c d", ""},
	{"[A]\nk x\"a b\"y 'a'b\n", "[A#0@1] k@2=xa by|ab", ""},
	{"[A]\nk \"a\\\"b\\\\\" 'c\\d'\n", "[A#0@1] k@2=a\"b\\|c\\d", ""},
	{"[A]\nk a\\ b \\\"c\n", "[A#0@1] k@2=a b|\"c", ""},
	{"[A]\nk \"\" ''\n", "[A#0@1] k@2=|", ""},
	{"[A]\n\"k k\" v\n", "[A#0@1] k k@2=v", ""},
	/* Long lines. */
	{"[A]\nk a \\\n  b\nl c\n", "[A#0@1] k@2=a|b l@4=c", ""},
	{"[A]\nk a\\\nb\n", "[A#0@1] k@2=ab", ""},
	{"[A]\nk a \\\n# b\nl c\n", "[A#0@1] k@2=a|#|b l@4=c", ""},
	{"[A]\n# x \\\nk a\nl c\n", "[A#0@1] l@4=c", ""},
	{"[A]\nk a \\\r\nl b\n", "[A#0@1] k@2=a|\\ l@3=b", ""},
	{"[A]\nk a\\", "[A#0@1] k@2=a\\", ""},
	/* Sections: numbers, and the same name again. */
	{"[A12]\n[b7c9]\n", "[A12#12@1][b7c9#7@2]", ""},
	{"[A]\nk 1\n[B]\n[a]\nk 2\n", "[A#0@1] k@2=1 k@5=2[B#0@3]", ""},
	{"[A b]\n", "[A b#0@1]", ""},
	/* Faults, with their lines. */
	{"", "", "f: has no section\n"},
	{"# only\n", "", "f: has no section\n"},
	{"k v\n[A]\n", "[A#0@2]", "f:1: 'k v' stands before any section\n"},
	{"[A]\n[B\nk v\n", "[A#0@1]", "f:2: broken section header '[B'\n"},
	{"[A] x\nk v\n[B]\nk v\n", "[B#0@3] k@4=v",
	 "f:1: broken section header '[A] x'\n"},
	{"[]\n[A]\n", "[A#0@2]", "f:1: a section has no name\n"},
	{"[A]\nk \"v\n",
	 "[A#0@1] k@2=", "f:2: key 'k' has a quote that does not end\n"},
	{"[A]\n\n'k v\n", "[A#0@1]", "f:3: a quote does not end\n"},
	{"[A99999999999999999999]\n", "[A99999999999999999999#0@1]",
	 "f:1: the number of section [A99999999999999999999] is too large\n"},
	{"[A\nx\n[B\n", "",
	 "f:1: broken section header '[A'\n"
	 "f:3: broken section header '[B'\n"
	 "f: has no section\n"},
};

static void check_row(const char *text, size_t len, const char *read,
		      const char *errors)
{
	struct conf_faults faults;
	struct conf *conf = NULL;
	struct buf out;
	int r;

	conf_faults_init(&faults);
	buf_init(&out, 65536);
	r = conf_parse("f", text, len, &faults, &conf);
	assert_int_equal(r, errors[0] ? -EINVAL : 0);
	print_conf(conf, &out);
	assert_string_equal((const char *)out.data, read);
	buf_append_byte(&faults.errors, '\0');
	assert_string_equal((const char *)faults.errors.data, errors);
	conf_free(conf);
	conf_faults_deinit(&faults);
	buf_deinit(&out);
}

static void test_rows(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t len = strlen(rows[i].text);
		/* In memory of its own, so that reads past it are seen. */
		char *text = malloc(len ? len : 1);

		assert_non_null(text);
		memcpy(text, rows[i].text, len);
		check_row(text, len, rows[i].read, rows[i].errors);
		free(text);
	}
}

static void test_nul(void **state)
{
	check_row("[A]\nk \0v\n", 9, "", "f: has a NUL byte\n");
}

static void test_values_max(void **state)
{
	struct conf_faults faults;
	struct conf *conf;
	struct buf b;

	for (uint32_t n = CONF_VALUES_MAX; n <= CONF_VALUES_MAX + 1; n++) {
		conf_faults_init(&faults);
		buf_init(&b, 1 << 20);
		buf_append_str(&b, "[A]\nk");
		for (uint32_t i = 0; i < n; i++)
			buf_append_str(&b, " v");
		assert_int_equal(conf_parse("f", (const char *)b.data, b.len,
					    &faults, &conf),
				 n > CONF_VALUES_MAX ? -EINVAL : 0);
		conf_free(conf);
		buf_deinit(&b);
		conf_faults_deinit(&faults);
	}
}

static void test_read_file(void **state)
{
	char path[] = "/tmp/test_conf_parse.XXXXXX";
	int fd = mkstemp(path);
	char *text;
	size_t len;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "[A]\n", 4), 4);
	assert_int_equal(conf_read_file(path, &text, &len), 0);
	assert_int_equal(len, 4);
	assert_string_equal(text, "[A]\n");
	free(text);
	assert_int_equal(ftruncate(fd, CONF_FILE_MAX + 1), 0);
	assert_int_equal(conf_read_file(path, &text, &len), -EFBIG);
	close(fd);
	unlink(path);
	assert_int_equal(conf_read_file(path, &text, &len), -ENOENT);
	assert_int_equal(conf_read_file("/", &text, &len), -EISDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_values_max),
		cmocka_unit_test(test_read_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
