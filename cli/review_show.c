/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups and edges of a review as a person reads them, in 80 columns. */
#include "cli/review.h"
#include "cli/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static enum colour
risk_colour(enum review_risk r)
{
	return r == RISK_HIGH ? COLOUR_RED : r == RISK_MEDIUM ? COLOUR_YELLOW : COLOUR_GREEN;
}

void
review_show_group(const struct review *v, const struct review_group *g, size_t number)
{
	const struct review_edge *e = &v->list[g->first];
	_cleanup_free_ char *name = text_safe(e->workload);
	char line[160];

	printf("\n");
	snprintf(line, sizeof(line), "[%zu/%zu] ", number, v->n_groups);
	fputs(line, stdout);
	colour_print(stdout, name != NULL ? name : "?", COLOUR_BOLD, v->cli->out.colour);
	printf(": %s, %zu edge%s, ", e->meaning, g->n, g->n == 1 ? "" : "s");
	snprintf(line, sizeof(line), "risk %s", review_risk_name(e->risk));
	colour_print(stdout, line, risk_colour(e->risk), v->cli->out.colour);
	printf("\n");
}

static void
line_text(const struct review_edge *e, FILE *f)
{
	_cleanup_free_ char *from = text_safe(show_peer(e->from));
	_cleanup_free_ char *to = text_safe(show_peer(e->to));
	_cleanup_free_ char *port = NULL;
	char buf[SHOW_PORT_LEN], number[SHOW_NUMBER_LEN];

	port = text_safe(show_port(e->json, buf));
	fprintf(f, "%s -> %s %s  %s conn\n", from, to, port,
	    show_number(show_int(e->json, "connections", 0), number));
}

void
review_show_line(const struct review *v, const struct review_edge *e)
{
	_cleanup_free_ char *id = text_safe(e->id);

	(void)v;
	printf("  %s ", id);
	line_text(e, stdout);
}

static int64_t
count_bits(const char *hex, size_t from, size_t to)
{
	int64_t n = 0;

	for (size_t h = from; h < to; h++) {
		char digits[3] = { hex[h / 8 * 2], hex[h / 8 * 2 + 1], '\0' };

		n += strtoul(digits, NULL, 16) >> h % 8 & 1;
	}
	return n;
}

/* "12 of 168 hours of the week, 3 of them on the weekend" */
static void
show_hours(const json_t *json)
{
	const char *hex = show_text(json, "hours", "");

	if (strlen(hex) != 42 || strspn(hex, "0123456789abcdef") != 42)
		return;
	printf("  active in %" PRId64 " of the week's 168 hours, %" PRId64
	       " of them Sat-Sun (UTC)\n",
	    count_bits(hex, 0, 168), count_bits(hex, 120, 168));
}

static void
show_images(const json_t *json)
{
	static const char *const ends[] = { "from", "to" };
	const json_t *images = show_in(json, "images");

	for (size_t end = 0; end < ARRAY_SIZE(ends); end++) {
		const json_t *list = show_in(images, ends[end]), *one;
		size_t i;

		if (json_array_size(list) == 0)
			continue;
		printf("  image %s:", ends[end]);
		json_array_foreach(list, i, one)
		{
			_cleanup_free_ char *text = text_safe(json_string_value(one));

			printf("%s %.40s", i > 0 ? "," : "", text != NULL ? text : "");
			if (i == 1 && json_array_size(list) > 2) {
				printf(" and %zu more", json_array_size(list) - 2);
				break;
			}
		}
		printf("\n");
	}
}

static void
show_flag_words(const json_t *json)
{
	const json_t *flags = show_in(json, "flags"), *f;
	size_t i;

	if (json_array_size(flags) == 0)
		return;
	printf("  flags:");
	json_array_foreach(flags, i, f)
	{
		_cleanup_free_ char *text = text_safe(json_string_value(f));

		printf("%s %.30s", i > 0 ? "," : "", text != NULL ? text : "");
	}
	printf("\n");
}

/* Whether a workload's rules in one direction change by a decision. */
static void
show_effect(const struct review *v, const char *peer, enum flow_dir dir)
{
	const char *workload = show_workload(peer);
	const json_t *w;
	_cleanup_free_ char *name = NULL;
	size_t n;
	int mode, direction;

	if (workload == NULL)
		return;
	w = review_workload(v, workload);
	name = text_safe(workload);
	mode = mode_parse(show_text(w, "mode", "observe"));
	direction = direction_parse(show_text(w, "direction", "both"));
	n = json_array_size(show_in(w, "instances"));
	if (mode <= MODE_OBSERVE || direction < 0 || ((unsigned)direction & (unsigned)dir) == 0)
		printf("    %s: %s, no rule there changes now\n", name,
		    mode == MODE_AUDIT || mode == MODE_ENFORCE ? "this direction is not governed"
							       : "observe");
	else
		printf("    %s: %s of %zu instance%s, %s\n", name,
		    dir == DIR_INGRESS ? "ingress rules" : "egress rules", n, n == 1 ? "" : "s",
		    mode == MODE_ENFORCE ? "y lets it pass, else it is refused"
					 : "audit: n and x report it, nothing is refused");
}

void
review_show_edge(const struct review *v, const struct review_edge *e)
{
	uint64_t now_ns = (uint64_t)time(NULL) * NSEC_PER_SEC;
	_cleanup_free_ char *id = text_safe(e->id), *behind = NULL, *admits = NULL, *seen_as = NULL;
	char first[SHOW_NUMBER_LEN], last[SHOW_NUMBER_LEN], text[SHOW_BEHIND_LEN];
	char covers[SHOW_COVERS_LEN], names[SHOW_SEEN_AS_LEN];
	int64_t instances = show_int(e->json, "instances", -1);
	int64_t clients = show_int(e->json, "clients", -1);

	printf("\n");
	line_text(e, stdout);
	printf("  %s, %s; first seen %s ago, last %s ago\n", id, e->why,
	    show_age(e->json, "firstSeen", now_ns, first),
	    show_age(e->json, "lastSeen", now_ns, last));
	if (instances >= 0 && clients >= 0)
		printf("  %" PRId64 " instance%s, %" PRId64 " client address%s\n", instances,
		    instances == 1 ? "" : "s", clients, clients == 1 ? "" : "es");
	show_hours(e->json);
	show_images(e->json);
	show_flag_words(e->json);
	if (strcmp(show_covers(e->json, covers), "-") != 0) {
		admits = text_safe(covers);
		printf("  covers %s\n", admits);
	}
	if (strcmp(show_seen_as(e->json, names), "-") != 0) {
		seen_as = text_safe(names);
		printf("  seen as %s (what its packets say, not checked)\n", seen_as);
	}
	show_behind(e->json, text);
	if (strcmp(text, "-") != 0) {
		behind = text_safe(text);
		printf("  leads to %s\n", behind);
	}
	printf("  rules:\n");
	show_effect(v, e->to, DIR_INGRESS);
	show_effect(v, e->from, DIR_EGRESS);
}

static json_t *
list_json(const struct review *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->n_groups; i++) {
		const struct review_group *g = &v->groups[i];
		const struct review_edge *e = &v->list[g->first];
		json_t *edges = json_array();

		for (size_t k = 0; k < g->n; k++)
			json_array_append(edges, (json_t *)e[k].json);
		json_array_append_new(
		    list, json_pack("{s:s, s:s, s:s, s:o}", "workload", e->workload, "meaning",
			      e->meaning, "risk", review_risk_name(e->risk), "edges", edges));
	}
	return list;
}

int
review_list(const struct review *v)
{
	json_t *list;
	int r;

	if (out_is_table(&v->cli->out)) {
		for (size_t i = 0; i < v->n_groups; i++) {
			const struct review_group *g = &v->groups[i];

			review_show_group(v, g, i + 1);
			for (size_t k = 0; k < g->n; k++)
				review_show_line(v, &v->list[g->first + k]);
		}
		return CLI_OK;
	}
	list = list_json(v);
	r = cli_printed(list != NULL ? out_document(&v->cli->out, list) : -ENOMEM);
	json_decref(list);
	return r;
}
