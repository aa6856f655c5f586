/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A jansson tree to YAML text with libyaml's emitter. Quoting is decided here and not by the
 * emitter: it knows YAML 1.1's types only in part, and a name must never be read as a word.
 */
#include "rules/doc.h"
#include "rules/peer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

struct out {
	char *text;
	size_t len, max;
};

static int
out_write(void *arg, unsigned char *data, size_t size)
{
	struct out *o = arg;

	if (o->max - o->len < size + 1) {
		size_t max = MAX(o->max * 2, o->len + size + 4096);
		char *text = realloc(o->text, max);

		if (text == NULL)
			return 0;
		o->text = text;
		o->max = max;
	}
	memcpy(o->text + o->len, data, size);
	o->len += size;
	o->text[o->len] = '\0';
	return 1;
}

/* Letters and a few signs, and no word that some YAML version gives a meaning. */
static bool
text_may_be_plain(const char *s)
{
	static const char *const words[] = { "true", "false", "null", "yes", "no", "on", "off", "y",
		"n" };
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char others[] = "0123456789_./-";
	size_t len = strlen(s), n = 0;

	while (n < len && (strchr(letters, s[n]) != NULL || strchr(others, s[n]) != NULL))
		n++;
	if (len == 0 || n < len || len > 128)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(s, words[i]) == 0)
			return false;
	/* Digits first: only a prefix such as 10.0.0.0/8, which no reader takes for a number. */
	if (strchr(letters, s[0]) == NULL)
		return s[0] >= '0' && s[0] <= '9' && strchr(s, '/') != NULL;
	return true;
}

/* True if text_escape() would change nothing but backslashes. */
static bool
text_is_visible(const char *s)
{
	size_t len = strlen(s), backslashes = 0;
	char none[1];

	for (const char *p = s; *p != '\0'; p++)
		backslashes += *p == '\\';
	return text_escape(s, len, none, sizeof(none)) == len + backslashes;
}

/* Whether every text of the tree may be written as it is, without YAML's own escapes. */
static bool
tree_is_visible(const json_t *value)
{
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_string(value))
		return text_is_visible(json_string_value(value));
	json_array_foreach(value, i, item) if (!tree_is_visible(item)) return false;
	json_object_foreach((json_t *)value, key,
	    item) if (!text_is_visible(key) || !tree_is_visible(item)) return false;
	return true;
}

static int
emit_event(yaml_emitter_t *e, yaml_event_t *ev, int initialized)
{
	/* The emitter owns the event from here on, also when it fails. */
	return initialized && yaml_emitter_emit(e, ev) ? 0 : -ENOMEM;
}

static int
emit_scalar(yaml_emitter_t *e, const char *text, yaml_scalar_style_t style)
{
	yaml_event_t ev;

	return emit_event(e, &ev,
	    yaml_scalar_event_initialize(
		&ev, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), 1, 1, style));
}

static int
emit_text(yaml_emitter_t *e, const char *text)
{
	return emit_scalar(e, text,
	    text_may_be_plain(text) ? YAML_PLAIN_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE);
}

static int emit_value(yaml_emitter_t *e, const json_t *value, bool flow, size_t depth);

static int
emit_array(yaml_emitter_t *e, const json_t *value, bool flow, size_t depth)
{
	yaml_event_t ev;
	json_t *item;
	size_t i;
	int r;

	r = emit_event(e, &ev,
	    yaml_sequence_start_event_initialize(
		&ev, NULL, NULL, 1, flow ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE));
	json_array_foreach(value, i, item)
	{
		if (r < 0)
			return r;
		r = emit_value(e, item, true, depth + 1);
	}
	return r < 0 ? r : emit_event(e, &ev, yaml_sequence_end_event_initialize(&ev));
}

static int
emit_object(yaml_emitter_t *e, const json_t *value, bool flow, size_t depth)
{
	yaml_event_t ev;
	const char *key;
	json_t *item;
	int r;

	r = emit_event(e, &ev,
	    yaml_mapping_start_event_initialize(
		&ev, NULL, NULL, 1, flow ? YAML_FLOW_MAPPING_STYLE : YAML_BLOCK_MAPPING_STYLE));
	json_object_foreach((json_t *)value, key, item)
	{
		if (r < 0)
			return r;
		r = emit_text(e, key);
		if (r >= 0)
			r = emit_value(
			    e, item, flow || depth > 0 || strcmp(key, "metadata") == 0, depth + 1);
	}
	return r < 0 ? r : emit_event(e, &ev, yaml_mapping_end_event_initialize(&ev));
}

static int
emit_value(yaml_emitter_t *e, const json_t *value, bool flow, size_t depth)
{
	char number[32];

	if (depth > DOC_MAX_DEPTH)
		return -EINVAL;
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return emit_object(e, value, flow, depth);
	case JSON_ARRAY:
		return emit_array(e, value, flow, depth);
	case JSON_STRING:
		return emit_text(e, json_string_value(value));
	case JSON_INTEGER:
		snprintf(
		    number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return emit_scalar(e, number, YAML_PLAIN_SCALAR_STYLE);
	case JSON_TRUE:
		return emit_scalar(e, "true", YAML_PLAIN_SCALAR_STYLE);
	case JSON_FALSE:
		return emit_scalar(e, "false", YAML_PLAIN_SCALAR_STYLE);
	case JSON_NULL:
		return emit_scalar(e, "null", YAML_PLAIN_SCALAR_STYLE);
	default:
		return -EINVAL;
	}
}

static int
emit_document(yaml_emitter_t *e, const json_t *root)
{
	yaml_event_t ev;
	int r;

	r = emit_event(e, &ev, yaml_stream_start_event_initialize(&ev, YAML_UTF8_ENCODING));
	if (r >= 0)
		r = emit_event(
		    e, &ev, yaml_document_start_event_initialize(&ev, NULL, NULL, NULL, 1));
	if (r >= 0)
		r = emit_value(e, root, false, 0);
	if (r >= 0)
		r = emit_event(e, &ev, yaml_document_end_event_initialize(&ev, 1));
	if (r >= 0)
		r = emit_event(e, &ev, yaml_stream_end_event_initialize(&ev));
	return r;
}

int
doc_to_yaml(const json_t *root, char **ret)
{
	struct out o = { 0 };
	yaml_emitter_t e;
	int r;

	if (!yaml_emitter_initialize(&e))
		return -ENOMEM;
	yaml_emitter_set_output(&e, out_write, &o);
	yaml_emitter_set_unicode(&e, tree_is_visible(root));
	yaml_emitter_set_width(&e, -1);
	yaml_emitter_set_indent(&e, 2);
	r = emit_document(&e, root);
	yaml_emitter_delete(&e);
	if (r < 0) {
		free(o.text);
		return r;
	}
	*ret = o.text;
	return 0;
}
