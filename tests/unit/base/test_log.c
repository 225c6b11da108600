/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define S 1000000000ull

/* Standard error goes to a file while a test runs. */
static int saved_fd, file_fd;
static char text[1 << 16];

static int setup(void **state)
{
	FILE *f = tmpfile();

	assert_non_null(f);
	saved_fd = dup(STDERR_FILENO);
	file_fd = dup(fileno(f));
	fclose(f);
	dup2(file_fd, STDERR_FILENO);
	log_set_print_level(LOG_LEVEL_NOTICE);
	log_set_level(LOG_LEVEL_NOTICE);
	return log_flag_set("all", false);
}

static int teardown(void **state)
{
	dup2(saved_fd, STDERR_FILENO);
	close(saved_fd);
	close(file_fd);
	return 0;
}

/* What was logged since the last call. */
static const char *logged(void)
{
	off_t end = lseek(file_fd, 0, SEEK_END);
	ssize_t n = pread(file_fd, text, sizeof(text) - 1, 0);

	assert_int_equal(n, end);
	text[n] = '\0';
	assert_int_equal(ftruncate(file_fd, 0), 0);
	lseek(file_fd, 0, SEEK_SET);
	return text;
}

static size_t count_lines(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

static void test_format(void **state)
{
	int year, month, day, hour, minute, second, usec, end = 0;
	const char *line;

	log_notice("text %d", 7);
	line = logged();
	assert_int_equal(sscanf(line,
				"[%4d-%2d-%2d %2d:%2d:%2d.%6d] NOTICE: "
				"text 7\n%n",
				&year, &month, &day, &hour, &minute, &second,
				&usec, &end),
			 7);
	assert_int_equal(end, strlen(line));
	/* "[2026-01-02 03:04:05.678901] NOTICE: text 7\n" */
	assert_int_equal(end, 44);
	assert_in_range(year, 2020, 9999);
	assert_in_range(month, 1, 12);
	assert_in_range(day, 1, 31);
}

static void test_levels(void **state)
{
	log_set_print_level(LOG_LEVEL_WARNING);
	assert_int_equal(log_get_print_level(), LOG_LEVEL_WARNING);
	log_error("one");
	log_warning("two");
	log_notice("three");
	log_info("four");
	assert_int_equal(count_lines(logged()), 2);
	assert_non_null(strstr(text, "] ERROR: one\n"));
	assert_non_null(strstr(text, "] WARNING: two\n"));

	log_set_print_level(LOG_LEVEL_INFO);
	log_info("four");
	assert_non_null(strstr(logged(), "] INFO: four\n"));

	log_set_print_level(LOG_LEVEL_DISABLED);
	log_error("one");
	log_write(LOG_LEVEL_DISABLED, "none");
	assert_string_equal(logged(), "");
}

static void test_level_names(void **state)
{
	enum log_level level = LOG_LEVEL_INFO;

	for (int i = LOG_LEVEL_DISABLED; i <= LOG_LEVEL_DEBUG; i++) {
		enum log_level l = (enum log_level)i;

		assert_int_equal(log_level_parse(log_level_name(l), &level), 0);
		assert_int_equal(level, l);
	}
	assert_int_equal(log_level_parse("wArNiNg", &level), 0);
	assert_int_equal(level, LOG_LEVEL_WARNING);
	assert_int_equal(log_level_parse("WARN", &level), -EINVAL);
	assert_int_equal(log_level_parse("", &level), -EINVAL);
	assert_int_equal(level, LOG_LEVEL_WARNING);
}

static void test_flags(void **state)
{
	log_debug(LOG_ISCSI, "hidden");
	assert_string_equal(logged(), "");
	assert_int_equal(log_flag_set("iscsi", true), 0);
	assert_true(log_flag_get(LOG_ISCSI));
	assert_false(log_flag_get(LOG_SCSI));
	log_debug(LOG_ISCSI, "seen");
	log_debug(LOG_SCSI, "hidden");
	assert_int_equal(count_lines(logged()), 1);
	assert_non_null(strstr(text, "] DEBUG: seen\n"));
	assert_int_equal(log_flag_set("iscsi", false), 0);
	assert_false(log_flag_get(LOG_ISCSI));

	assert_int_equal(log_flag_set("all", true), 0);
	for (unsigned int i = 0; i < LOG_FLAG_COUNT; i++) {
		assert_non_null(log_flag_name(i));
		assert_true(log_flag_get((enum log_flag)i));
		assert_int_equal(log_flag_set(log_flag_name(i), false), 0);
		assert_false(log_flag_get((enum log_flag)i));
	}
	assert_null(log_flag_name(LOG_FLAG_COUNT));
	assert_int_equal(log_flag_set("none such", true), -EINVAL);
}

/* A peer's text cannot begin a new line or send terminal codes. */
static void test_one_line(void **state)
{
	log_notice("a\nb\r\x1b[31mc\x7f\n");
	assert_int_equal(count_lines(logged()), 1);
	assert_non_null(strstr(text, "NOTICE: a?b??[31mc?\n"));
}

static void test_longest_line(void **state)
{
	static char big[3000];
	size_t len;

	memset(big, 'x', sizeof(big) - 1);
	log_notice("%s", big);
	len = strlen(logged());
	assert_int_equal(len, 1024);
	assert_int_equal(text[len - 1], '\n');
	assert_int_equal(count_lines(text), 1);

	/* The prefix takes 37 bytes and the newline one. */
	log_notice("%.986s", big);
	assert_int_equal(strlen(logged()), 1024);
	log_notice("%.985s", big);
	assert_int_equal(strlen(logged()), 1023);
}

static void test_errno_kept(void **state)
{
	errno = EXDEV;
	log_notice("text");
	assert_int_equal(errno, EXDEV);
	logged();
}

static void *log_many(void *arg)
{
	for (int i = 0; i < 200; i++)
		log_notice("thread %s%s%s%s end", (char *)arg, (char *)arg,
			   (char *)arg, (char *)arg);
	return NULL;
}

/* Lines of two threads do not mix. */
static void test_threads(void **state)
{
	char letters_a[] = "aaaaaaaa", letters_b[] = "bbbbbbbb";
	pthread_t a, b;
	char *save = NULL;
	int n = 0;

	assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, O_APPEND), 0);
	assert_int_equal(pthread_create(&a, NULL, log_many, letters_a), 0);
	assert_int_equal(pthread_create(&b, NULL, log_many, letters_b), 0);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	logged();
	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		assert_int_equal(strlen(line), 37 + 7 + 32 + 4);
		assert_string_equal(line + 37 + 7 + 32, " end");
		n++;
	}
	assert_int_equal(n, 400);
}

static void test_syslog_not_stderr(void **state)
{
	log_use_syslog(true);
	log_set_level(LOG_LEVEL_DISABLED);
	assert_false(log_enabled(LOG_LEVEL_ERROR));
	log_error("nowhere");
	log_set_level(LOG_LEVEL_INFO);
	assert_true(log_enabled(LOG_LEVEL_INFO));
	log_use_syslog(false);
	assert_false(log_enabled(LOG_LEVEL_INFO));
	assert_string_equal(logged(), "");
}

static void test_limit(void **state)
{
	struct log_limit limit = {.burst = 3, .interval_s = 10};

	for (int i = 0; i < 3; i++)
		assert_true(log_limit_ok(&limit, 5 * S));
	assert_false(log_limit_ok(&limit, 5 * S));
	assert_false(log_limit_ok(&limit, 15 * S - 1));
	assert_string_equal(logged(), "");

	/* The next interval says what was lost, once. */
	assert_true(log_limit_ok(&limit, 15 * S));
	assert_int_equal(count_lines(logged()), 1);
	assert_non_null(strstr(text, "WARNING: 2 similar messages"));
	assert_true(log_limit_ok(&limit, 15 * S));
	assert_true(log_limit_ok(&limit, 15 * S));
	assert_false(log_limit_ok(&limit, 25 * S - 1));
	assert_true(log_limit_ok(&limit, 25 * S));
	assert_non_null(strstr(logged(), "WARNING: 1 similar messages"));
	assert_true(log_limit_ok(&limit, 100 * S));
	assert_string_equal(logged(), "");
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOG_TEST(test_format),	    LOG_TEST(test_levels),
		LOG_TEST(test_level_names), LOG_TEST(test_flags),
		LOG_TEST(test_one_line),    LOG_TEST(test_longest_line),
		LOG_TEST(test_errno_kept),  LOG_TEST(test_threads),
		LOG_TEST(test_limit),	    LOG_TEST(test_syslog_not_stderr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
