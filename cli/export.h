/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writers of evidence: each makes its format of a whole bundle (judged, controls included, sealed),
 * and of nothing else: equal bundles give equal bytes. Names, reasons and tickets are hostile in
 * each of them.
 */
#ifndef NANOSEG_CLI_EXPORT_H
#define NANOSEG_CLI_EXPORT_H

#include <jansson.h>
#include <stdio.h>

/* 0 or -ENOMEM; the caller looks at f's errors. */
typedef int (*export_fn)(const json_t *b, FILE *f);

struct export_format {
	const char *name;
	export_fn write;
	const char *brief;
};

/* Ends in one without a name. */
extern const struct export_format export_formats[];

int export_json(const json_t *b, FILE *f);
int export_csv(const json_t *b, FILE *f);
int export_html(const json_t *b, FILE *f);
int export_oscal(const json_t *b, FILE *f);
int export_ocsf(const json_t *b, FILE *f);
int export_k8s(const json_t *b, FILE *f);
int export_cilium(const json_t *b, FILE *f);
int export_graph(const json_t *b, FILE *f);
int export_dot(const json_t *b, FILE *f);
int export_mermaid(const json_t *b, FILE *f);

/* export_svg.c: the diagram, for a page: without a prolog. */
int svg_print(const json_t *b, FILE *f);

/* Text made safe to look at, then for HTML, with the quotes of attributes. NULL is nothing. */
void html_put(FILE *f, const char *text);
/* For what is safe to look at already. */
void html_put_raw(FILE *f, const char *text);
/* "sha256-..." of a page's style or script, for its policy. */
#define HTML_HASH_STRLEN 64
const char *html_hash(const char *text, size_t len, char buf[static HTML_HASH_STRLEN]);

#endif
