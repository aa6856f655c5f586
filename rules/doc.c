/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libyaml's events to a jansson tree with places. The stack of open containers is an array of
 * DOC_MAX_DEPTH frames; a frame owns its container until it is closed and stored in its parent.
 *
 * A place is found by (pointer, index) in an open-addressing table: (value, 0) for a value,
 * (key text inside its object, 0) for a key. jansson's shared true, false and null are stored under
 * their holder instead: (key text, 1) and (array, 1 + index).
 */
#include "rules/doc.h"
#include "rules/doc_text.h"
#include "rules/peer.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <yaml.h>

struct place {
	const void *p;
	size_t index;
	unsigned line, col;
};

struct doc {
	json_t *root;
	struct place *places;
	size_t n_places, max_places; /* max is a power of two, or 0 */
	size_t n_values;
};

struct frame {
	json_t *container;
	char *key; /* of an object: the key whose value comes next, NULL if a key is next */
	unsigned key_line, key_col;
	unsigned line, col;
};

struct builder {
	struct doc *doc;
	struct diag *d;
	struct frame stack[DOC_MAX_DEPTH];
	size_t depth;
	bool had_document;
};

static size_t
place_slot(const struct place *places, size_t max, const void *p, size_t index)
{
	size_t i = hash_mix64((uint64_t)(uintptr_t)p + index * 0x9e3779b97f4a7c15ULL) & (max - 1);

	while (places[i].p != NULL && (places[i].p != p || places[i].index != index))
		i = (i + 1) & (max - 1);
	return i;
}

static int
place_grow(struct doc *doc)
{
	size_t max = doc->max_places == 0 ? 256 : doc->max_places * 2;
	struct place *places = calloc(max, sizeof(*places));

	if (places == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < doc->max_places; i++) {
		const struct place *old = &doc->places[i];

		if (old->p != NULL)
			places[place_slot(places, max, old->p, old->index)] = *old;
	}
	free(doc->places);
	doc->places = places;
	doc->max_places = max;
	return 0;
}

static int
place_add(struct doc *doc, const void *p, size_t index, unsigned line, unsigned col)
{
	struct place *slot;
	int r;

	if (doc->n_places * 4 >= doc->max_places * 3) {
		r = place_grow(doc);
		if (r < 0)
			return r;
	}
	slot = &doc->places[place_slot(doc->places, doc->max_places, p, index)];
	if (slot->p == NULL)
		doc->n_places++;
	*slot = (struct place){ .p = p, .index = index, .line = line, .col = col };
	return 0;
}

static bool
place_get(const struct doc *doc, const void *p, size_t index, unsigned *ret_line, unsigned *ret_col)
{
	const struct place *slot;

	*ret_line = *ret_col = 0;
	if (doc->max_places == 0 || p == NULL)
		return false;
	slot = &doc->places[place_slot(doc->places, doc->max_places, p, index)];
	if (slot->p == NULL)
		return false;
	*ret_line = slot->line;
	*ret_col = slot->col;
	return true;
}

static bool
value_is_shared(const json_t *value)
{
	return json_is_boolean(value) || json_is_null(value);
}

static const char *
object_key(const json_t *object, const char *key)
{
	/* json_object_iter_at() takes no const object but changes nothing. */
	void *iter = json_object_iter_at((json_t *)object, key);

	return iter != NULL ? json_object_iter_key(iter) : NULL;
}

void
doc_place(const struct doc *doc, const json_t *value, unsigned *ret_line, unsigned *ret_col)
{
	place_get(doc, value, 0, ret_line, ret_col);
}

void
doc_key_place(const struct doc *doc, const json_t *object, const char *key, unsigned *ret_line,
    unsigned *ret_col)
{
	place_get(doc, object_key(object, key), 0, ret_line, ret_col);
}

void
doc_member_place(const struct doc *doc, const json_t *object, const char *key, unsigned *ret_line,
    unsigned *ret_col)
{
	if (!place_get(doc, object_key(object, key), 1, ret_line, ret_col))
		place_get(doc, json_object_get(object, key), 0, ret_line, ret_col);
}

void
doc_item_place(
    const struct doc *doc, const json_t *array, size_t index, unsigned *ret_line, unsigned *ret_col)
{
	if (!place_get(doc, array, index + 1, ret_line, ret_col))
		place_get(doc, json_array_get(array, index), 0, ret_line, ret_col);
}

void
doc_free(struct doc *doc)
{
	if (doc == NULL)
		return;
	json_decref(doc->root);
	free(doc->places);
	free(doc);
}

json_t *
doc_root(struct doc *doc)
{
	return doc->root;
}

static unsigned
mark_line(const yaml_mark_t *m)
{
	return (unsigned)m->line + 1;
}

static unsigned
mark_col(const yaml_mark_t *m)
{
	return (unsigned)m->column + 1;
}

#define refuse(b, ev, ...)                                                                         \
	(diag_set((b)->d, mark_line(&(ev)->start_mark), mark_col(&(ev)->start_mark), __VA_ARGS__), \
	    -EINVAL)

/* A decimal integer without leading zeros; anything else that looks like a number is text. */
static bool
text_is_integer(const char *s)
{
	if (*s == '-')
		s++;
	if (*s == '0')
		return s[1] == '\0';
	return *s != '\0' && strspn(s, "0123456789") == strlen(s);
}

static int
scalar_plain(struct builder *b, const yaml_event_t *ev, const char *s, json_t **ret)
{
	static const struct {
		const char *text[4];
		json_type type;
	} words[] = {
		{ { "null", "Null", "NULL", "~" }, JSON_NULL },
		{ { "true", "True", "TRUE", NULL }, JSON_TRUE },
		{ { "false", "False", "FALSE", NULL }, JSON_FALSE },
	};

	if (*s == '\0') {
		*ret = json_null();
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		for (size_t k = 0; k < 4 && words[i].text[k] != NULL; k++)
			if (strcmp(s, words[i].text[k]) == 0) {
				*ret = words[i].type == JSON_NULL   ? json_null()
				       : words[i].type == JSON_TRUE ? json_true()
								    : json_false();
				return 0;
			}
	if (text_is_integer(s)) {
		long long v;

		errno = 0;
		v = strtoll(s, NULL, 10);
		if (errno != 0)
			return refuse(
			    b, ev, "number out of range; if text is meant, put it in quotes");
		*ret = json_integer(v);
		return *ret != NULL ? 0 : -ENOMEM;
	}
	*ret = json_string(s);
	return *ret != NULL ? 0 : -ENOMEM;
}

static int
scalar_check(struct builder *b, const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;
	size_t len = ev->data.scalar.length;

	if (ev->data.scalar.anchor != NULL)
		return refuse(b, ev, "anchors (&name) are not allowed here");
	if (ev->data.scalar.tag != NULL)
		return refuse(b, ev, "tags (!name) are not allowed here");
	if (memchr(s, '\0', len) != NULL)
		return refuse(b, ev, "a NUL character is not allowed in a text");
	if (len > DOC_MAX_SCALAR)
		return refuse(b, ev, "a text may have at most %d bytes", DOC_MAX_SCALAR);
	if (!text_is_utf8(s, len))
		return refuse(b, ev, "not valid UTF-8");
	return 0;
}

/* Stores a value in the innermost open container, or as the root. Takes over the reference. */
static int
store(struct builder *b, json_t *value, unsigned line, unsigned col)
{
	struct frame *f;
	const char *key;
	int r;

	if (b->depth == 0) {
		b->doc->root = value;
		return place_add(b->doc, value, 0, line, col);
	}
	f = &b->stack[b->depth - 1];
	if (json_is_array(f->container)) {
		if (json_array_append_new(f->container, value) < 0)
			return -ENOMEM;
		if (!value_is_shared(value))
			return place_add(b->doc, value, 0, line, col);
		return place_add(b->doc, f->container, json_array_size(f->container), line, col);
	}
	if (json_object_set_new(f->container, f->key, value) < 0)
		return -ENOMEM;
	key = object_key(f->container, f->key);
	free(steal_ptr(f->key));
	r = place_add(b->doc, key, 0, f->key_line, f->key_col);
	if (r < 0)
		return r;
	return value_is_shared(value) ? place_add(b->doc, key, 1, line, col)
				      : place_add(b->doc, value, 0, line, col);
}

static bool
key_is_next(const struct builder *b)
{
	const struct frame *f = b->depth > 0 ? &b->stack[b->depth - 1] : NULL;

	return f != NULL && json_is_object(f->container) && f->key == NULL;
}

static int
take_key(struct builder *b, const yaml_event_t *ev)
{
	struct frame *f = &b->stack[b->depth - 1];
	const char *s = (const char *)ev->data.scalar.value;
	unsigned line, col;

	if (json_object_get(f->container, s) != NULL) {
		char shown[64];

		text_escape(s, strlen(s), shown, sizeof(shown));
		doc_key_place(b->doc, f->container, s, &line, &col);
		return refuse(b, ev, "key '%s' is given twice, first in line %u", shown, line);
	}
	f->key = strdup(s);
	if (f->key == NULL)
		return -ENOMEM;
	f->key_line = mark_line(&ev->start_mark);
	f->key_col = mark_col(&ev->start_mark);
	return 0;
}

static int
count_value(struct builder *b, const yaml_event_t *ev)
{
	if (++b->doc->n_values > DOC_MAX_VALUES)
		return refuse(b, ev, "too large: more than %d values", DOC_MAX_VALUES);
	return 0;
}

static int
take_scalar(struct builder *b, const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;
	json_t *value = NULL;
	int r;

	r = scalar_check(b, ev);
	if (r < 0)
		return r;
	if (key_is_next(b))
		return take_key(b, ev);
	r = count_value(b, ev);
	if (r < 0)
		return r;
	if (ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		r = scalar_plain(b, ev, s, &value);
	else
		r = (value = json_string(s)) != NULL ? 0 : -ENOMEM;
	if (r < 0)
		return r;
	return store(b, value, mark_line(&ev->start_mark), mark_col(&ev->start_mark));
}

static int
open_container(struct builder *b, const yaml_event_t *ev, const yaml_char_t *anchor,
    const yaml_char_t *tag, json_t *(*make)(void))
{
	struct frame *f;
	int r;

	if (anchor != NULL)
		return refuse(b, ev, "anchors (&name) are not allowed here");
	if (tag != NULL)
		return refuse(b, ev, "tags (!name) are not allowed here");
	if (key_is_next(b))
		return refuse(b, ev, "a key must be a text, not a list or a mapping");
	if (b->depth == DOC_MAX_DEPTH)
		return refuse(b, ev, "nested too deeply: more than %d levels", DOC_MAX_DEPTH);
	r = count_value(b, ev);
	if (r < 0)
		return r;
	f = &b->stack[b->depth];
	*f = (struct frame){
		.container = make(),
		.line = mark_line(&ev->start_mark),
		.col = mark_col(&ev->start_mark),
	};
	if (f->container == NULL)
		return -ENOMEM;
	b->depth++;
	return 0;
}

static int
close_container(struct builder *b)
{
	struct frame *f = &b->stack[--b->depth];

	return store(b, steal_ptr(f->container), f->line, f->col);
}

static int
start_document(struct builder *b, const yaml_event_t *ev)
{
	if (b->had_document)
		return refuse(b, ev, "a second document; one file holds one document");
	if (ev->data.document_start.tag_directives.start !=
	    ev->data.document_start.tag_directives.end)
		return refuse(b, ev, "%%TAG directives are not allowed here");
	b->had_document = true;
	return 0;
}

static int
take_event(struct builder *b, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		return start_document(b, ev);
	case YAML_ALIAS_EVENT:
		return refuse(b, ev, "aliases (*name) are not allowed here");
	case YAML_SCALAR_EVENT:
		return take_scalar(b, ev);
	case YAML_SEQUENCE_START_EVENT:
		return open_container(
		    b, ev, ev->data.sequence_start.anchor, ev->data.sequence_start.tag, json_array);
	case YAML_MAPPING_START_EVENT:
		return open_container(
		    b, ev, ev->data.mapping_start.anchor, ev->data.mapping_start.tag, json_object);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return close_container(b);
	default:
		return 0;
	}
}

static int
parser_error(const yaml_parser_t *parser, struct diag *d)
{
	unsigned line = mark_line(&parser->problem_mark), col = mark_col(&parser->problem_mark);
	const char *problem = parser->problem != NULL ? parser->problem : "unreadable";

	if (parser->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (parser->context != NULL)
		diag_set(d, line, col, "not valid YAML: %s (%s that begins in line %u)", problem,
		    parser->context, mark_line(&parser->context_mark));
	else
		diag_set(d, line, col, "not valid YAML: %s", problem);
	return -EINVAL;
}

static int
build(struct builder *b, const char *text, size_t len)
{
	_cleanup_(yaml_parser_delete) yaml_parser_t parser;
	int r = 0;

	if (!yaml_parser_initialize(&parser)) {
		memset(&parser, 0, sizeof(parser));
		return -ENOMEM;
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	for (bool end = false; !end && r == 0;) {
		yaml_event_t ev;

		if (!yaml_parser_parse(&parser, &ev))
			return parser_error(&parser, b->d);
		end = ev.type == YAML_STREAM_END_EVENT;
		r = take_event(b, &ev);
		yaml_event_delete(&ev);
	}
	return r;
}

int
doc_parse(const char *text, size_t len, struct diag *d, struct doc **ret)
{
	static const char bom[] = "\xef\xbb\xbf";
	_cleanup_(doc_freep) struct doc *doc = NULL;
	_cleanup_free_ char *rewritten = NULL;
	struct builder b = { .d = d };
	int r;

	if (len > DOC_MAX_BYTES) {
		diag_set(d, 0, 0, "too large: %zu bytes, at most %u are read", len, DOC_MAX_BYTES);
		return -EINVAL;
	}
	if (len >= 3 && memcmp(text, bom, 3) == 0) {
		text += 3;
		len -= 3;
	}
	r = doc_text_from_json(text, len, &rewritten, &len);
	if (r < 0)
		return r;
	if (r > 0)
		text = rewritten;
	r = doc_text_check(text, len, d);
	if (r < 0)
		return r;
	doc = calloc(1, sizeof(*doc));
	if (doc == NULL)
		return -ENOMEM;

	b.doc = doc;
	r = build(&b, text, len);
	for (; b.depth > 0; b.depth--) {
		json_decref(b.stack[b.depth - 1].container);
		free(b.stack[b.depth - 1].key);
	}
	if (r < 0)
		return r;
	if (doc->root == NULL) {
		doc->root = json_null();
		r = place_add(doc, doc->root, 0, 1, 1);
		if (r < 0)
			return r;
	}
	*ret = steal_ptr(doc);
	return 0;
}

/* Within the bounds of doc_parse(), and of types that it knows? A real number is text to it. */
static bool
tree_is_plain(const json_t *value, unsigned depth, size_t *count)
{
	const json_t *inner;
	const char *key;
	size_t i;

	if (++*count > DOC_MAX_VALUES || json_is_real(value))
		return false;
	if (json_is_string(value))
		return json_string_length(value) <= DOC_MAX_SCALAR;
	if ((json_is_object(value) || json_is_array(value)) && depth == DOC_MAX_DEPTH)
		return false;
	json_object_foreach((json_t *)value, key, inner)
	{
		size_t len = strlen(key);

		if (len == 0 || len > DOC_MAX_SCALAR || !tree_is_plain(inner, depth + 1, count))
			return false;
	}
	json_array_foreach(value, i, inner)
	{
		if (!tree_is_plain(inner, depth + 1, count))
			return false;
	}
	return true;
}

int
doc_parse_json(const char *text, size_t len, struct doc **ret)
{
	_cleanup_(doc_freep) struct doc *doc = NULL;
	size_t count = 0;

	if (len == 0 || len > DOC_MAX_BYTES || text[0] != '{')
		return -EINVAL;
	doc = calloc(1, sizeof(*doc));
	if (doc == NULL)
		return -ENOMEM;
	doc->root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (doc->root == NULL || !tree_is_plain(doc->root, 0, &count))
		return -EINVAL;
	*ret = steal_ptr(doc);
	return 0;
}
