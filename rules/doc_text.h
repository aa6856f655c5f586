/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What doc_parse() does with the bytes before YAML sees them. */
#ifndef NANOSEG_RULES_DOC_TEXT_H
#define NANOSEG_RULES_DOC_TEXT_H

#include "rules/util.h"

/*
 * Refuses, with its place, the first byte that is not UTF-8 and the first character that a reader
 * cannot see for what it is: control characters, C1, line and paragraph separators, bidi overrides,
 * a byte order mark inside the text. 0 or -EINVAL.
 */
int doc_text_check(const char *text, size_t len, struct diag *d);

/*
 * JSON allows what YAML does not: surrogate pairs as escapes, and any character but C0 inside a
 * string. If the text is valid JSON that uses either, *ret is a copy with YAML's escapes instead
 * and 1 is returned; otherwise 0 (leave it as it is) or -ENOMEM.
 */
int doc_text_from_json(const char *text, size_t len, char **ret, size_t *ret_len);

#endif
