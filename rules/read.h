/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a tree of doc_parse() strictly: every helper either gives the value or fills the diag
 * with the line and column of what is wrong, what stood there, what was expected, and the nearest
 * known word if one is near. All return 0, -EINVAL (diag filled) or -ENOMEM.
 */
#ifndef NANOSEG_RULES_READ_H
#define NANOSEG_RULES_READ_H

#include "rules/addr.h"
#include "rules/doc.h"

#include <stdbool.h>

struct reader {
	const struct doc *doc;
	struct diag *d;
};

/* A value and how it is held, which is what its place is found by. value NULL: not given. */
struct slot {
	const json_t *holder; /* NULL: the value is the root */
	const char *key;      /* in an object */
	size_t index;	      /* in an array */
	json_t *value;
};

struct read_key {
	const char *key;
	bool required;
};

struct slot slot_root(json_t *root);
struct slot slot_member(const struct slot *object, const char *key);
struct slot slot_item(const struct slot *array, size_t index);

/* Text of a user for a message: escaped, cut to fit. Returns buf. */
#define SHOWN_LEN 72
const char *shown(const char *text, char buf[static SHOWN_LEN]);

/* Fills the diag with the place of the value, or of its key, and returns -EINVAL. */
int read_fail(const struct reader *r, const struct slot *s, const char *fmt, ...) _printf_(3, 4);
int read_fail_key(const struct reader *r, const struct slot *s, const char *fmt, ...)
    _printf_(3, 4);
/* "expected WHAT, found a list" */
int read_fail_type(const struct reader *r, const struct slot *s, const char *what);

/*
 * An object with these keys and no other. slots[i] is the slot of keys[i]. what names the object in
 * messages: "an edge".
 */
int read_object(const struct reader *r, const struct slot *s, const char *what,
    const struct read_key *keys, size_t n, struct slot *slots);
/* An array of at most max items. */
int read_array(
    const struct reader *r, const struct slot *s, const char *what, size_t max, size_t *ret_n);
/* A text of 1 to max bytes, borrowed. */
int read_text(
    const struct reader *r, const struct slot *s, const char *what, size_t max, const char **ret);
int read_text_dup(
    const struct reader *r, const struct slot *s, const char *what, size_t max, char **ret);
int read_int(const struct reader *r, const struct slot *s, const char *what, int64_t min,
    int64_t max, int64_t *ret);
/* One of the names (NULLs among them are skipped); *ret is its index. */
int read_choice(const struct reader *r, const struct slot *s, const char *what,
    const char *const *names, size_t n, size_t *ret);
/* A prefix without host bits. */
int read_prefix(const struct reader *r, const struct slot *s, struct prefix *ret);

/* The known word nearest to a misspelt one, or NULL if none is near enough to be meant. */
const char *nearest_word(const char *word, const char *const *known, size_t n);

#endif
