/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/util.h"

#include <stdarg.h>
#include <stdio.h>

void
diag_set(struct diag *d, unsigned line, unsigned col, const char *fmt, ...)
{
	va_list ap;

	if (d == NULL)
		return;
	d->line = line;
	d->col = col;
	va_start(ap, fmt);
	vsnprintf(d->msg, sizeof(d->msg), fmt, ap);
	va_end(ap);
}
