/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Values of the daemon's JSON as people read them. The daemon is not believed: a field that is
 * missing or of another type reads as its default. Texts given back are raw; who prints them
 * escapes them (tables do).
 */
#ifndef NANOSEG_CLI_SHOW_H
#define NANOSEG_CLI_SHOW_H

#include "cli/table.h"

#include <jansson.h>
#include <stdint.h>

const char *show_text(const json_t *o, const char *key, const char *fallback);
int64_t show_int(const json_t *o, const char *key, int64_t fallback);
int64_t show_add(int64_t a, int64_t b); /* a file may hold any number */
/* o[key][inner], NULL-safe. */
const json_t *show_in(const json_t *o, const char *key);
/* Is the text in the array? */
bool show_has(const json_t *list, const char *text);
/* The array's items in order, as a new one, which jansson has no call for; compare is qsort's. NULL
 * without memory. */
json_t *show_sorted(const json_t *list, int (*compare)(const void *, const void *));

/* "workload:shop/web" is "shop/web" unless that would read as a keyword or an address. Borrowed. */
const char *show_peer(const char *peer);
/* The name of a workload's peer; NULL: it is none. Borrowed. */
const char *show_workload(const char *peer);
/* The workload behind a port of the host, or all that it may be: "a or b"; "-" if none is known. */
#define SHOW_BEHIND_LEN 600
const char *show_behind(const json_t *o, char buf[static SHOW_BEHIND_LEN]);
/*
 * What an edge admits beyond what was seen: "1,280 ports, 37 seen", "a /24, 12 addresses seen",
 * "the internet, 3 addresses seen in 203.0.113.0/24". "-": nothing.
 */
#define SHOW_SEEN_AS_LEN 1200
/* "sni a.example, host b.example"; "-": nothing. */
const char *show_seen_as(const json_t *o, char buf[static SHOW_SEEN_AS_LEN]);
#define SHOW_COVERS_LEN 1400
const char *show_covers(const json_t *o, char buf[static SHOW_COVERS_LEN]);
/* "tcp/8000", "udp/8000-8010", "icmp/8", "icmp/3.1"; "?" where nothing fits. */
#define SHOW_PORT_LEN 64
const char *show_port(const json_t *o, char buf[static SHOW_PORT_LEN]);
/* Three cells: from, to and port. */
void show_cells_route(struct table *t, const json_t *o);
/* "1,234" */
#define SHOW_NUMBER_LEN 32
const char *show_number(int64_t n, char buf[static SHOW_NUMBER_LEN]);
/* "1.2M": bytes; "-" if negative */
const char *show_bytes(int64_t n, char buf[static SHOW_NUMBER_LEN]);
/* "12s", "3m", "5h", "9d" since the RFC 3339 time under key; "-" if there is none. */
const char *show_age(
    const json_t *o, const char *key, uint64_t now_ns, char buf[static SHOW_NUMBER_LEN]);
/* Letters for the flags of an edge; unknown ones are '?'. */
#define SHOW_FLAGS_LEN 40
const char *show_flags(const json_t *flags, char buf[static SHOW_FLAGS_LEN]);
/* Adds the letters that are not there yet. */
void show_flags_collect(const char *flags, char letters[static SHOW_FLAGS_LEN]);
/* "v via-host, a auto" for the letters used, "" for none. */
#define SHOW_LEGEND_LEN 160
const char *show_flags_legend(const char *letters, char buf[static SHOW_LEGEND_LEN]);

/* Containers of the instance, all of a pod, whose image may not run (`images` of nanosegd.yaml). */
size_t show_unapproved(const json_t *instance);

enum colour show_state_colour(const char *state);
enum colour show_verdict_colour(const char *verdict);
enum colour show_mode_colour(const char *mode);

#endif
