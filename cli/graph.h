/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The graph in the languages that other programs draw. */
#ifndef NANOSEG_CLI_GRAPH_H
#define NANOSEG_CLI_GRAPH_H

#include <jansson.h>
#include <stdio.h>

/* By source, then destination, protocol and port; workloads before others. For qsort(). */
int graph_edge_compare(const void *a, const void *b);

/*
 * graph is {nodes, edges} of the API, edges are its edges, sorted. Names are escaped for the
 * language after they were made safe to look at. 0 or -ENOMEM; the caller looks at f's errors.
 */
int graph_print_dot(const json_t *graph, json_t *const *edges, size_t n, FILE *f);
int graph_print_mermaid(const json_t *graph, json_t *const *edges, size_t n, FILE *f);

#endif
