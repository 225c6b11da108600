/* SPDX-License-Identifier: BSD-3-Clause */
#include "reactor/cores.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

/* The kernel's own bound on the number of CPUs is 8192. */
#define CPUS_MAX 8192

bool core_exists(uint32_t cpu)
{
	char path[64];
	long n;

	if (access("/sys/devices/system/cpu/cpu0", F_OK) == 0) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u",
			 cpu);
		return access(path, F_OK) == 0;
	}
	/* Without sysfs: numbers without gaps are a fair guess. */
	n = sysconf(_SC_NPROCESSORS_CONF);
	return n > 0 && cpu < (unsigned long)n;
}

uint32_t cores_available(void)
{
	cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
	uint32_t n = 1;

	if (!set)
		return 1;
	if (sched_getaffinity(0, CPU_ALLOC_SIZE(CPUS_MAX), set) == 0)
		n = (uint32_t)CPU_COUNT_S(CPU_ALLOC_SIZE(CPUS_MAX), set);
	CPU_FREE(set);
	return n ? n : 1;
}

int core_pin(uint32_t cpu)
{
	cpu_set_t *set;
	int rc;

	if (cpu >= CPUS_MAX)
		return -EINVAL;
	set = CPU_ALLOC(CPUS_MAX);
	if (!set)
		return -ENOMEM;
	CPU_ZERO_S(CPU_ALLOC_SIZE(CPUS_MAX), set);
	CPU_SET_S(cpu, CPU_ALLOC_SIZE(CPUS_MAX), set);
	rc = pthread_setaffinity_np(pthread_self(), CPU_ALLOC_SIZE(CPUS_MAX),
				    set);
	CPU_FREE(set);
	return -rc;
}
