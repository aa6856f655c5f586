/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static const char *log_role = "nanoseg";
static enum log_level log_least = LOG_LVL_INFO, log_max = LOG_LVL_INFO;

void
log_init(const char *role, enum log_level max)
{
	log_role = role;
	log_least = log_max = max;
}

void
log_raise(enum log_level max)
{
	log_max = MAX(log_least, max);
}

void
log_line(enum log_level level, const char *fmt, ...)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	char line[2048];
	va_list ap;
	int n, m;

	if (level > log_max)
		return;
	n = snprintf(line, sizeof(line), "%s %s: ", names[level], log_role);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	n = MIN(n + m, (int)sizeof(line) - 2);
	line[n++] = '\n';
	/* One write per line, so that the roles' lines do not mix. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}
