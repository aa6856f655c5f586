/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/out.h"

#include "rules/doc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WIDTH_MIN 40
#define WIDTH_MAX 10000

static unsigned
number_env(const char *name)
{
	const char *text = getenv(name);
	unsigned long v = 0;
	char *end = NULL;

	if (text != NULL && *text >= '0' && *text <= '9')
		v = strtoul(text, &end, 10);
	return end != NULL && *end == '\0' && v <= WIDTH_MAX ? (unsigned)v : 0;
}

unsigned
out_height(void)
{
	struct winsize w;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0)
		return 0;
	return w.ws_row;
}

void
out_measure(struct out *o)
{
	struct winsize w;

	o->width = number_env("COLUMNS");
	if (o->width == 0 && o->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0)
		o->width = w.ws_col;
	if (o->width != 0)
		o->width = MAX(o->width, (unsigned)WIDTH_MIN);
}

void
out_init(struct out *o)
{
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");

	o->terminal = isatty(STDOUT_FILENO) == 1;
	o->colour = o->terminal && (no_colour == NULL || *no_colour == '\0') && term != NULL &&
		    strcmp(term, "dumb") != 0;
	out_measure(o);
}

int
out_form_parse(const char *word, enum out_form *ret)
{
	static const char *const words[] = { "table", "wide", "json", "yaml" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(words[i], word) == 0) {
			*ret = (enum out_form)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool
out_is_table(const struct out *o)
{
	return o->form == OUT_TABLE || o->form == OUT_WIDE;
}

/* YAML's documents here have no real numbers: they become text. */
static json_t *
without_reals(const json_t *value)
{
	json_t *copy, *item;
	const char *key;
	char text[40];
	size_t i;

	if (json_is_real(value)) {
		snprintf(text, sizeof(text), "%.9g", json_real_value(value));
		return json_string(text);
	}
	if (json_is_object(value)) {
		copy = json_object();
		json_object_foreach((json_t *)value, key, item)
		    json_object_set_new(copy, key, without_reals(item));
		return copy;
	}
	if (json_is_array(value)) {
		copy = json_array();
		json_array_foreach(value, i, item) json_array_append_new(copy, without_reals(item));
		return copy;
	}
	return json_deep_copy(value);
}

static int
print_yaml(const json_t *value)
{
	json_t *plain = without_reals(value);
	_cleanup_free_ char *text = NULL;
	int r = plain != NULL ? doc_to_yaml(plain, &text) : -ENOMEM;

	json_decref(plain);
	if (r < 0)
		return r;
	fputs(text, stdout);
	return ferror(stdout) ? -EIO : 0;
}

int
out_document(const struct out *o, const json_t *value)
{
	if (o->form == OUT_YAML)
		return print_yaml(value);
	if (json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_ENCODE_ANY) < 0)
		return ferror(stdout) ? -EIO : -ENOMEM;
	fputc('\n', stdout);
	return ferror(stdout) ? -EIO : 0;
}

int
out_line(const json_t *value)
{
	if (json_dumpf(value, stdout, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY) < 0)
		return ferror(stdout) ? -EIO : -ENOMEM;
	fputc('\n', stdout);
	return fflush(stdout) == 0 ? 0 : -EIO;
}

int
out_table(const struct out *o, struct table *t, FILE *f)
{
	bool wide = o->form == OUT_WIDE;

	if (o->no_headers)
		table_hide_header(t);

	return table_print(t, f, wide ? 0 : o->width, wide, o->colour);
}

int
out_close(void)
{
	if (ferror(stdout))
		return -EIO;
	if (fclose(stdout) != 0)
		return -errno;
	return 0;
}
