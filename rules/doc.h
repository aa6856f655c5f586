/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * YAML or JSON text to a jansson tree that remembers where each value stood: shared by the policy
 * and the configuration file.
 *
 * What a person cannot see at a glance is refused: anchors, aliases, tags, directives but %YAML,
 * keys given twice, several documents, NUL and other control characters, invalid UTF-8. Depth,
 * bytes and values are bounded. Only plain scalars have a type (YAML 1.2): true, false, null and
 * decimal integers; "yes", "no", "on", "010", "0x1f" and "1.5" are text, and so is all in quotes.
 */
#ifndef NANOSEG_RULES_DOC_H
#define NANOSEG_RULES_DOC_H

#include "rules/util.h"

#include <jansson.h>

#define DOC_MAX_BYTES (16u << 20)
#define DOC_MAX_VALUES 3000000
#define DOC_MAX_DEPTH 16
#define DOC_MAX_SCALAR 65536

struct doc;

/*
 * A file without a document (empty, comments only) has a null root. 0, -EINVAL with *d filled, or
 * -ENOMEM. JSON is read as it is; a column after a surrogate pair on the same line may be off by
 * two.
 */
int doc_parse(const char *text, size_t len, struct diag *d, struct doc **ret);
/*
 * The tree of JSON, ten times as fast, but no value has a place. -EINVAL for everything that is not
 * within doc_parse()'s bounds, or not the same to it: that is then doc_parse()'s to judge. Valid
 * JSON that YAML does not take, with a line break before a colon, is read.
 */
int doc_parse_json(const char *text, size_t len, struct doc **ret);
void doc_free(struct doc *doc);
static inline void
doc_freep(struct doc **doc)
{
	doc_free(*doc);
}
json_t *doc_root(struct doc *doc); /* borrowed */
/*
 * Line and column of a value of that tree (by identity); 0,0 if unknown: jansson shares its true,
 * false and null, which have a place only through doc_member_place() and doc_item_place().
 */
void doc_place(const struct doc *doc, const json_t *value, unsigned *ret_line, unsigned *ret_col);
/* The same for a key of an object. */
void doc_key_place(const struct doc *doc, const json_t *object, const char *key, unsigned *ret_line,
    unsigned *ret_col);
/* And for the value of a key, and for an item of an array. */
void doc_member_place(const struct doc *doc, const json_t *object, const char *key,
    unsigned *ret_line, unsigned *ret_col);
void doc_item_place(const struct doc *doc, const json_t *array, size_t index, unsigned *ret_line,
    unsigned *ret_col);

/*
 * A tree as YAML text that doc_parse() reads back to an equal tree: the root and its members in
 * block style, what is deeper (and a member named "metadata") on one line each. Deterministic, ends
 * in a newline, *ret is malloc'ed. Texts that any YAML reader could take for something else are
 * quoted; characters that cannot be seen are escaped. -EINVAL for a real number, -ENOMEM.
 */
int doc_to_yaml(const json_t *root, char **ret);

#endif
