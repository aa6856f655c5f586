/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the graph's page is made of, in the program: made by the build of cli/page/. */
#ifndef NANOSEG_CLI_GRAPH_PAGE_H
#define NANOSEG_CLI_GRAPH_PAGE_H

#include <stdbool.h>
#include <stddef.h>

extern const unsigned char page_css[], page_script[], page_cytoscape[];
extern const size_t page_css_len, page_script_len, page_cytoscape_len;

/* False: the program was built where cytoscape could not be had. */
bool page_is_there(void);
#define PAGE_MISSING \
	"this program was built without cytoscape, which the page needs (npm could not fetch it)"

#endif
