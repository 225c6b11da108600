/* SPDX-License-Identifier: BSD-3-Clause */
/* What the user is told when there can be no reactors; and binding to CPUs. */
#include "uring_env.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* From here on io_uring_setup() fails with @error in this process. */
static void forbid_io_uring(int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K,
			 SECCOMP_RET_ERRNO | (unsigned int)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = ARRAY_LEN(code), .filter = code};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0);
}

static void no_descriptors(int n)
{
	struct rlimit lim = {.rlim_cur = (rlim_t)n, .rlim_max = (rlim_t)n};

	CHECK(setrlimit(RLIMIT_NOFILE, &lim) == 0);
}

/* Creates in a child that @spoil has prepared; it must fail and say why. */
static void expect_why(void (*spoil)(int arg), int arg, int error,
		       const char *says)
{
	uint32_t cores[3] = {0};
	struct reactor_options opt = {.cores = cores, .ncores = 3};
	struct reactors *set = NULL;
	const char *why = NULL;
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		spoil(arg);
		CHECK(reactors_create(&opt, &set, &why) == -error);
		CHECK(why && strstr(why, says));
		CHECK(!strchr(why, '\n'));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_refused(void **state)
{
	expect_why(forbid_io_uring, EPERM, EPERM, "io_uring is refused");
	expect_why(forbid_io_uring, ENOSYS, ENOSYS, "CONFIG_IO_URING");
	expect_why(forbid_io_uring, EINVAL, EINVAL, "6.1");
	expect_why(forbid_io_uring, ENOMEM, ENOMEM, "LimitMEMLOCK");
}

/* Also when the first reactors were there already. */
static void test_no_descriptors(void **state)
{
	for (int n = 3; n < 7; n++)
		expect_why(no_descriptors, n, EMFILE, "LimitNOFILE");
}

/* ---- Threads run where they are told to. */

struct pinning {
	struct env env;
	struct fanout fanout;
	int on[2];
};

static void pin_look(struct fanout *f, struct reactor *r)
{
	struct pinning *p = container_of(f, struct pinning, fanout);
	cpu_set_t set;

	CPU_ZERO(&set);
	CHECK(sched_getaffinity(0, sizeof(set), &set) == 0);
	CHECK(CPU_COUNT(&set) == 1);
	CHECK(CPU_ISSET(reactor_cpu(r), &set));
	p->on[reactor_index(r)] = sched_getcpu();
}

static void pin_done(struct fanout *f)
{
	env_stop(&container_of(f, struct pinning, fanout)->env);
}

static void pin_start(struct mail *mail)
{
	struct env *env = container_of(mail, struct env, start_mail);
	struct pinning *p = container_of(env, struct pinning, env);

	p->fanout.fn = pin_look;
	p->fanout.done = pin_done;
	CHECK(reactors_fanout(env->set, &p->fanout) == 0);
}

static void test_pinned(void **state)
{
	struct pinning p = {.on = {-1, -1}};
	uint32_t cores[2] = {0, 0};
	struct reactor_options opt = {
		.cores = cores, .ncores = 2, .main_core = 1, .pin = true};
	const char *why;
	cpu_set_t before;
	int last;

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	for (last = 0; last < CPU_SETSIZE; last++) {
		if (!CPU_ISSET(last, &before))
			continue;
		cores[0] = cores[1];
		cores[1] = (uint32_t)last;
	}
	if (!CPU_ISSET(cores[0], &before))
		cores[0] = cores[1];
	assert_int_equal(reactors_create(&opt, &p.env.set, &why), 0);
	p.env.start_mail.run = pin_start;
	mail_post(reactors_main(p.env.set), &p.env.start_mail);
	reactors_run(p.env.set);
	reactors_destroy(p.env.set);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(p.on[0], cores[0]);
	assert_int_equal(p.on[1], cores[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_no_descriptors),
		cmocka_unit_test(test_pinned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
