/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Texts of the OCI runtime specification, read and edited in place: the state that a hook gets, the
 * configuration of a bundle. A strict JSON scanner without a tree: what is not asked for is checked
 * and kept byte for byte, numbers of any size included. Needs nothing but libc, for the programs
 * that are linked statically.
 */
#ifndef NANOSEG_RULES_OCI_H
#define NANOSEG_RULES_OCI_H

#include <stdbool.h>
#include <stddef.h>

#define OCI_MAX_TEXT (1u << 20)
#define OCI_MAX_DEPTH 64
#define OCI_ID_MAX 255
#define OCI_PATH_MAX 4095

/* A value inside the text it was found in. */
struct oci_value {
	const char *text;
	size_t len;
};

/* The whole text is one JSON value of at most OCI_MAX_DEPTH levels. 0 or -EBADMSG. */
int oci_check(const char *text, size_t len);
/*
 * The member of an object. 0; -ENOENT: the object has none; -EBADMSG: the text is not one JSON
 * object, or has the member twice.
 */
int oci_member(const char *text, size_t len, const char *key, struct oci_value *ret);
/* A string, decoded, without NUL bytes; -EBADMSG: not a string; -E2BIG. */
int oci_string(const struct oci_value *v, char *ret, size_t size);
/* A whole number from 0 to max; -EBADMSG or -ERANGE. */
int oci_number(const struct oci_value *v, long max, long *ret);

/* What a hook reads on its standard input. */
struct oci_state {
	char id[OCI_ID_MAX + 1]; /* letters, digits, '_', '+', '-', '.' */
	char bundle[OCI_PATH_MAX + 1];
	int pid;
};

/* 0, or -EBADMSG with a sentence in *ret_why. */
int oci_state_read(const char *text, size_t len, struct oci_state *ret, const char **ret_why);

/* text as a JSON string with its quotes, malloc'ed. Bytes over 127 are kept. NULL without memory.
 */
char *oci_quote(const char *text);
/*
 * A bundle's configuration with one more entry at the end of hooks.createRuntime, malloc'ed and
 * with a NUL behind it; all else stays as it is. A text that has this very entry comes back
 * unchanged. -EBADMSG: not such a configuration; -ENOMEM.
 */
int oci_add_hook(const char *text, size_t len, const char *hook, char **ret, size_t *ret_len);

#endif
