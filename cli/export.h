/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writers of evidence: each makes its format of a whole bundle (judged, controls included, sealed),
 * and of nothing else: equal bundles give equal bytes. Names, reasons and tickets are hostile in
 * each of them.
 */
#ifndef NANOSEG_CLI_EXPORT_H
#define NANOSEG_CLI_EXPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* 0 or -ENOMEM; the caller looks at f's errors. */
typedef int (*export_fn)(const json_t *b, FILE *f);

struct export_format {
	const char *name;
	export_fn write;
};

/* Ends in one without a name. */
extern const struct export_format export_formats[];

int export_json(const json_t *b, FILE *f);
int export_csv(const json_t *b, FILE *f);
int export_html(const json_t *b, FILE *f);
int export_html_static(const json_t *b, FILE *f); /* without a script */
int export_oscal(const json_t *b, FILE *f);
int export_ocsf(const json_t *b, FILE *f);
int export_syslog(const json_t *b, FILE *f);
int export_k8s(const json_t *b, FILE *f);
int export_cilium(const json_t *b, FILE *f);
int export_graph(const json_t *b, FILE *f);
int export_dot(const json_t *b, FILE *f);
int export_mermaid(const json_t *b, FILE *f);

/* export_internet.c: the peer "internet" of a policy's rule; side: "from" or "to". */
void export_internet(FILE *f, const char *side, bool cilium);
/* export_svg.c: the diagram, for a page: without a prolog. */
int svg_print(const json_t *b, FILE *f);

#endif
