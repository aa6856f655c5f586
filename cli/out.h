/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Standard output: its form, its width, its colours. JSON and YAML are printed in ASCII alone. */
#ifndef NANOSEG_CLI_OUT_H
#define NANOSEG_CLI_OUT_H

#include "cli/table.h"

#include <jansson.h>

enum out_form {
	OUT_TABLE,
	OUT_WIDE,
	OUT_JSON,
	OUT_YAML,
};

struct out {
	enum out_form form;
	bool terminal, colour, no_headers;
	unsigned width; /* 0: no limit */
};

/* Looks at standard output, COLUMNS, NO_COLOR and TERM. */
void out_init(struct out *o);
/* Also after the window's size has changed. 0: not known. */
unsigned out_height(void);
void out_measure(struct out *o);
/* -EINVAL for an unknown word. */
int out_form_parse(const char *word, enum out_form *ret);
bool out_is_table(const struct out *o);

/* A whole document in the form asked for (JSON or YAML). 0, -ENOMEM, -EIO. */
int out_document(const struct out *o, const json_t *value);
/* One compact line of JSON, flushed. 0, -ENOMEM, -EIO. */
int out_line(const json_t *value);
int out_table(const struct out *o, struct table *t, FILE *f);
/* Flushes and closes: 0, or -errno if something did not get through. */
int out_close(void);

#endif
