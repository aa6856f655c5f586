/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a person reads and does not type into: a pager, and how far a long operation is. */
#ifndef NANOSEG_CLI_PAGE_H
#define NANOSEG_CLI_PAGE_H

#include "cli/out.h"

/* From here on what is printed goes through $PAGER, if there is one and a terminal behind it. */
void page_begin(const struct out *o);
/* After standard output is closed: until the reader has read. */
void page_end(void);

/* "what: 3 of 12" on a terminal's standard error, over the last one; total 0 takes it away. */
void progress_show(const char *what, size_t done, size_t total);

#endif
