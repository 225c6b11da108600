/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void assert_failed(const char *expr, const char *file, int line,
		   const char *func)
{
	/* Not the log: a level or syslog must not hide this one. */
	dprintf(STDERR_FILENO, "%s:%d: %s: assertion failed: %s\n", file, line,
		func, expr);
	abort();
}
