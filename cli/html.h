/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text in pages, and the hashes that a page's policy allows its own parts by. */
#ifndef NANOSEG_CLI_HTML_H
#define NANOSEG_CLI_HTML_H

#include <stddef.h>
#include <stdio.h>

/* Text made safe to look at, then for HTML, with the quotes of attributes. NULL is nothing. */
void html_put(FILE *f, const char *text);
/* For what is safe to look at already. */
void html_put_raw(FILE *f, const char *text);
/* "sha256-..." of a page's style or script, for its policy. */
#define HTML_HASH_STRLEN 64
const char *html_hash(const char *text, size_t len, char buf[static HTML_HASH_STRLEN]);

#endif
