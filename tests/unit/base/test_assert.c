/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include <string.h>

#include "base/assert.h"

static void assert_that(void *arg)
{
	const bool *holds = arg;

	ASSERT(*holds);
}

static void test_holds(void **state)
{
	bool holds = true;

	assert_false(aborts(assert_that, &holds));
}

static void test_fails(void **state)
{
	bool holds = false;

	assert_true(aborts(assert_that, &holds));
}

/* The message names the place and the expression. */
static void test_message(void **state)
{
	char text[256] = {0};
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		assert_failed("a == b", "file.c", 42, "func");
	}
	close(fds[1]);
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	close(fds[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_string_equal(text,
			    "file.c:42: func: assertion failed: a == b\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holds),
		cmocka_unit_test(test_fails),
		cmocka_unit_test(test_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
