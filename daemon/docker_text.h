/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text from an engine made fit for a JSON parser and for bounds, marked where it was changed. */
#ifndef NANOSEG_DAEMON_DOCKER_TEXT_H
#define NANOSEG_DAEMON_DOCKER_TEXT_H

#include "rules/util.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Parses JSON text in which some byte may be one that jansson refuses: NUL escapes, lone surrogates
 * and bytes that are not UTF-8 become U+FFFD. NULL with *ret_error -EBADMSG or -ENOMEM.
 */
json_t *docker_text_load(const char *buf, size_t len, int *ret_error);
/* The same, of at most max bytes (else -E2BIG), and it is an object (else -EBADMSG). */
json_t *docker_text_object(const char *buf, size_t len, size_t max, int *ret_error);
/* A member that is a string, or "". */
const char *docker_text_of(const json_t *o, const char *key);

static inline void
json_drop(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ _cleanup_(json_drop)

/*
 * A copy of at most max bytes; a longer text is cut at a character and ends in "~" and 32 hex
 * digits of its SHA-256, so that two long texts stay apart. *altered becomes true if it was cut, or
 * if it carries a U+FFFD (somebody replaced something). NULL: no memory.
 */
json_t *docker_text_copy(const char *text, size_t max, bool *altered);

#endif
