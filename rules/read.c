/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/read.h"
#include "rules/peer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NEAREST_MAX 32 /* longer words are not compared */

struct slot
slot_root(json_t *root)
{
	return (struct slot){ .value = root };
}

struct slot
slot_member(const struct slot *object, const char *key)
{
	return (struct slot){
		.holder = object->value, .key = key, .value = json_object_get(object->value, key)
	};
}

struct slot
slot_item(const struct slot *array, size_t index)
{
	return (struct slot){
		.holder = array->value, .index = index, .value = json_array_get(array->value, index)
	};
}

const char *
shown(const char *text, char buf[static SHOWN_LEN])
{
	size_t need = text_escape(text, strlen(text), buf, SHOWN_LEN);

	if (need >= SHOWN_LEN)
		snprintf(buf + SHOWN_LEN - 4, 4, "...");
	return buf;
}

static void
slot_place(const struct reader *r, const struct slot *s, unsigned *ret_line, unsigned *ret_col)
{
	if (s->holder == NULL)
		doc_place(r->doc, s->value, ret_line, ret_col);
	else if (s->key != NULL)
		doc_member_place(r->doc, s->holder, s->key, ret_line, ret_col);
	else
		doc_item_place(r->doc, s->holder, s->index, ret_line, ret_col);
}

int
read_fail(const struct reader *r, const struct slot *s, const char *fmt, ...)
{
	char msg[sizeof(r->d->msg)];
	unsigned line, col;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	slot_place(r, s, &line, &col);
	diag_set(r->d, line, col, "%s", msg);
	return -EINVAL;
}

int
read_fail_key(const struct reader *r, const struct slot *s, const char *fmt, ...)
{
	char msg[sizeof(r->d->msg)];
	unsigned line, col;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	doc_key_place(r->doc, s->holder, s->key, &line, &col);
	diag_set(r->d, line, col, "%s", msg);
	return -EINVAL;
}

static const char *
type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "a mapping";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a text";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
		return "true";
	case JSON_FALSE:
		return "false";
	default:
		return "nothing";
	}
}

int
read_fail_type(const struct reader *r, const struct slot *s, const char *what)
{
	return read_fail(r, s, "expected %s, found %s", what, type_name(s->value));
}

/* Optimal string alignment distance; both words are at most NEAREST_MAX long. */
static size_t
word_distance(const char *a, const char *b)
{
	size_t rows[3][NEAREST_MAX + 1], na = strlen(a), nb = strlen(b);
	size_t *before = rows[0], *prev = rows[1], *cur = rows[2];

	for (size_t j = 0; j <= nb; j++)
		prev[j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t *spare = before;

		cur[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t d = prev[j - 1] + (a[i - 1] != b[j - 1]);

			d = MIN(d, MIN(prev[j], cur[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d = MIN(d, before[j - 2] + 1);
			cur[j] = d;
		}
		before = prev;
		prev = cur;
		cur = spare;
	}
	return prev[nb];
}

const char *
nearest_word(const char *word, const char *const *known, size_t n)
{
	size_t len = strlen(word), best = len < 3 ? 2 : len < 6 ? 3 : 4;
	const char *found = NULL;

	if (len > NEAREST_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t d;

		if (known[i] == NULL || strlen(known[i]) > NEAREST_MAX)
			continue;
		if (strcasecmp(word, known[i]) == 0)
			return known[i];
		d = word_distance(word, known[i]);
		if (d < best && d < strlen(known[i])) {
			best = d;
			found = known[i];
		}
	}
	return found;
}

static int
fail_unknown_key(const struct reader *r, const struct slot *s, const char *what, const char *key,
    const struct read_key *keys, size_t n)
{
	struct slot at = slot_member(s, key);
	const char *known[64], *near;
	char text[SHOWN_LEN];

	n = MIN(n, ARRAY_SIZE(known));
	for (size_t i = 0; i < n; i++)
		known[i] = keys[i].key;
	near = nearest_word(key, known, n);
	shown(key, text);
	if (near != NULL)
		return read_fail_key(
		    r, &at, "unknown key '%s' in %s, did you mean '%s'?", text, what, near);
	return read_fail_key(r, &at, "unknown key '%s' in %s", text, what);
}

int
read_object(const struct reader *r, const struct slot *s, const char *what,
    const struct read_key *keys, size_t n, struct slot *slots)
{
	const char *key;
	json_t *value;

	if (!json_is_object(s->value)) {
		char text[96];

		snprintf(text, sizeof(text), "a mapping for %s", what);
		return read_fail_type(r, s, text);
	}
	json_object_foreach(s->value, key, value)
	{
		size_t i = 0;

		while (i < n && strcmp(keys[i].key, key) != 0)
			i++;
		if (i == n)
			return fail_unknown_key(r, s, what, key, keys, n);
	}
	for (size_t i = 0; i < n; i++) {
		slots[i] = slot_member(s, keys[i].key);
		if (keys[i].required && slots[i].value == NULL)
			return read_fail(r, s, "%s needs '%s'", what, keys[i].key);
	}
	return 0;
}

int
read_array(
    const struct reader *r, const struct slot *s, const char *what, size_t max, size_t *ret_n)
{
	size_t n;

	if (!json_is_array(s->value))
		return read_fail_type(r, s, what);
	n = json_array_size(s->value);
	if (n > max) {
		struct slot first = slot_item(s, max);

		return read_fail(
		    r, &first, "too many: %s may have at most %zu items, found %zu", what, max, n);
	}
	*ret_n = n;
	return 0;
}

int
read_text(
    const struct reader *r, const struct slot *s, const char *what, size_t max, const char **ret)
{
	const char *text = json_string_value(s->value);

	if (text == NULL) {
		if (json_is_integer(s->value) || json_is_boolean(s->value))
			return read_fail(r, s,
			    "expected %s, found %s; if text is meant, put it in quotes", what,
			    type_name(s->value));
		return read_fail_type(r, s, what);
	}
	if (*text == '\0')
		return read_fail(r, s, "expected %s, found an empty text", what);
	if (strlen(text) > max)
		return read_fail(
		    r, s, "expected %s of at most %zu bytes, found %zu", what, max, strlen(text));
	*ret = text;
	return 0;
}

int
read_text_dup(
    const struct reader *r, const struct slot *s, const char *what, size_t max, char **ret)
{
	const char *text;
	char *copy;
	int rc = read_text(r, s, what, max, &text);

	if (rc < 0)
		return rc;
	copy = strdup(text);
	if (copy == NULL)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

int
read_int(const struct reader *r, const struct slot *s, const char *what, int64_t min, int64_t max,
    int64_t *ret)
{
	json_int_t v;

	if (!json_is_integer(s->value))
		return read_fail_type(r, s, what);
	v = json_integer_value(s->value);
	if (v < min || v > max)
		return read_fail(r, s,
		    "%" JSON_INTEGER_FORMAT " is out of range, expected %s from %" PRId64
		    " to %" PRId64,
		    v, what, min, max);
	*ret = v;
	return 0;
}

/* "a, b or c" */
static void
list_words(const char *const *names, size_t n, char *buf, size_t size)
{
	size_t at = 0, left = 0;

	for (size_t i = 0; i < n; i++)
		left += names[i] != NULL;
	buf[0] = '\0';
	for (size_t i = 0; i < n && at < size; i++) {
		if (names[i] == NULL)
			continue;
		left--;
		at += (size_t)snprintf(buf + at, size - at, "%s%s", names[i],
		    left == 0	? ""
		    : left == 1 ? " or "
				: ", ");
	}
}

int
read_choice(const struct reader *r, const struct slot *s, const char *what,
    const char *const *names, size_t n, size_t *ret)
{
	const char *text = json_string_value(s->value), *near;
	char words[128], said[SHOWN_LEN];

	list_words(names, n, words, sizeof(words));
	if (text == NULL)
		return read_fail(
		    r, s, "expected %s (%s), found %s", what, words, type_name(s->value));
	for (size_t i = 0; i < n; i++)
		if (names[i] != NULL && strcmp(names[i], text) == 0) {
			*ret = i;
			return 0;
		}
	near = nearest_word(text, names, n);
	shown(text, said);
	if (near != NULL)
		return read_fail(r, s, "unknown %s '%s', did you mean '%s'?", what, said, near);
	return read_fail(r, s, "unknown %s '%s', expected %s", what, said, words);
}

/* What the prefix would be without its host bits, if that is all that is wrong with it. */
static bool
prefix_without_host_bits(const char *text, struct prefix *ret)
{
	char part[ADDR_STRLEN];
	const char *slash = strchr(text, '/');
	struct addr a;
	char *end;
	long len;

	if (slash == NULL || (size_t)(slash - text) >= sizeof(part) || slash[1] < '0' ||
	    slash[1] > '9')
		return false;
	memcpy(part, text, (size_t)(slash - text));
	part[slash - text] = '\0';
	len = strtol(slash + 1, &end, 10);
	if (*end != '\0' || addr_parse(part, &a) < 0 || len > (long)addr_len(&a) * 8)
		return false;
	*ret = prefix_of(&a, (uint8_t)len);
	return true;
}

int
read_prefix(const struct reader *r, const struct slot *s, struct prefix *ret)
{
	char said[SHOWN_LEN], meant[PREFIX_STRLEN];
	const char *text;
	struct prefix p;
	int rc;

	rc = read_text(r, s, "a prefix such as 10.0.0.0/8", 128, &text);
	if (rc < 0)
		return rc;
	if (prefix_parse(text, ret) == 0)
		return 0;
	shown(text, said);
	if (prefix_without_host_bits(text, &p))
		return read_fail(r, s, "'%s' has bits set behind its length, did you mean %s?",
		    said, prefix_format(&p, meant));
	return read_fail(
	    r, s, "'%s' is not a prefix, expected one such as 10.0.0.0/8 or fd00::/8", said);
}
