/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The graph to look at, as a page and as a part of the report. What it is made of is in the
 * program, put there by the build of cli/page/.
 */
#ifndef NANOSEG_CLI_GRAPH_PAGE_H
#define NANOSEG_CLI_GRAPH_PAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

extern const unsigned char page_css[], page_script[], page_cytoscape[];
extern const size_t page_css_len, page_script_len, page_cytoscape_len;

/* False: the program was built where cytoscape could not be had. */
bool page_is_there(void);
#define PAGE_MISSING \
	"this program was built without cytoscape, which the page needs (npm could not fetch it)"

/* export_graph.c: what a page with the graph in it needs in its head: its policy and its style. */
void graph_put_policy(FILE *f, const char *own_style);
void graph_put_style(FILE *f);
/*
 * A section that is hidden until its script runs; then a sibling of class "picture" is, on a
 * screen. 0 or -ENOMEM.
 */
int graph_put_section(const json_t *b, FILE *f);

#endif
