/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg policy diff: what one policy says that another does not. */
#include "cli/client.h"
#include "cli/policy.h"
#include "cli/show.h"

#include "rules/json.h"
#include "rules/policy_diff.h"
#include "rules/timefmt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *
port_text(const struct policy_edge *e, char buf[static SHOW_PORT_LEN])
{
	json_t *o = json_object();

	json_set_port(o, e->proto, e->port_lo, e->port_hi);
	show_port(o, buf);
	json_decref(o);
	return buf;
}

char *
policy_edge_text(const struct policy_edge *e)
{
	char from[PEER_STRLEN], to[PEER_STRLEN], port[SHOW_PORT_LEN];
	_cleanup_free_ char *f = text_safe(show_peer(peer_format(&e->from, from)));
	_cleanup_free_ char *t = text_safe(show_peer(peer_format(&e->to, to)));
	char *text = NULL;

	if (f == NULL || t == NULL || asprintf(&text, "%s -> %s %s", f, t, port_text(e, port)) < 0)
		return NULL;
	return text;
}

static json_t *
edge_json(const struct policy_edge *e)
{
	char from[PEER_STRLEN], to[PEER_STRLEN];
	json_t *o;

	if (e == NULL)
		return json_null();
	o = json_pack("{s:s, s:o, s:o}", "id", e->id, "from",
	    json_text(peer_format(&e->from, from)), "to", json_text(peer_format(&e->to, to)));
	json_set_port(o, e->proto, e->port_lo, e->port_hi);
	json_object_set_new(o, "state", json_string(edge_state_name(e->state)));
	json_object_set_new(o, "expires", json_time(e->expires_ns));
	return o;
}

static json_t *
labels_json(const struct policy_workload *w)
{
	json_t *o = json_object();

	for (size_t i = 0; i < w->n_labels; i++) {
		json_t *key = json_text(w->labels[i].key);

		json_object_set_new(o, json_string_value(key), json_text(w->labels[i].value));
		json_decref(key);
	}
	return o;
}

static json_t *
workload_json(const struct policy_workload *w)
{
	json_t *o, *images;

	if (w == NULL)
		return json_null();
	images = json_array();
	for (size_t i = 0; i < w->n_images; i++)
		json_array_append_new(images, json_text(w->images[i]));
	o = json_pack("{s:s, s:s, s:o, s:o}", "mode", mode_name(w->mode), "direction",
	    direction_name(w->direction), "labels", labels_json(w), "images", images);
	return o;
}

static json_t *
network_json(const struct policy_network *n)
{
	char text[PREFIX_STRLEN];
	json_t *list;

	if (n == NULL)
		return json_null();
	list = json_array();
	for (size_t i = 0; i < n->n_prefixes; i++)
		json_array_append_new(list, json_string(prefix_format(&n->prefixes[i], text)));
	return list;
}

static json_t *
diff_json(const struct policy_diff *d)
{
	json_t *edges = json_array(), *workloads = json_array(), *networks = json_array();

	for (size_t i = 0; i < d->n_edges; i++)
		json_array_append_new(
		    edges, json_pack("{s:s, s:o, s:o, s:b}", "change",
			       policy_diff_kind_name(d->edges[i].kind), "before",
			       edge_json(d->edges[i].before), "after", edge_json(d->edges[i].after),
			       "effect", !d->edges[i].no_effect));
	for (size_t i = 0; i < d->n_workloads; i++) {
		const struct policy_diff_workload *w = &d->workloads[i];

		json_array_append_new(
		    workloads, json_pack("{s:o, s:b, s:b, s:b, s:o, s:o}", "name",
				   json_text(w->name), "modeChanged", w->mode, "labelsChanged",
				   w->labels, "imagesChanged", w->images, "before",
				   workload_json(w->before), "after", workload_json(w->after)));
	}
	for (size_t i = 0; i < d->n_networks; i++) {
		const struct policy_diff_network *n = &d->networks[i];

		json_array_append_new(networks,
		    json_pack("{s:o, s:b, s:b, s:I, s:o, s:o}", "name", json_text(n->name),
			"gained", n->gained, "lost", n->lost, "edges", (json_int_t)n->n_edges,
			"before", network_json(n->before), "after", network_json(n->after)));
	}
	return json_pack("{s:o, s:o, s:o, s:b}", "edges", edges, "workloads", workloads, "networks",
	    networks, "complete", !d->gave_up);
}

static void
print_mode(const struct policy_workload *w, FILE *f)
{
	if (w == NULL || w->mode == MODE_OBSERVE)
		fputs("observe", f);
	else if (w->direction == WL_BOTH)
		fputs(mode_name(w->mode), f);
	else
		fprintf(f, "%s/%s", mode_name(w->mode), direction_name(w->direction));
}

static void
print_workload(const struct policy_diff_workload *w)
{
	_cleanup_free_ char *name = text_safe(w->name);

	printf("~ %s: ", name != NULL ? name : "?");
	if (w->mode) {
		print_mode(w->before, stdout);
		fputs(" becomes ", stdout);
		print_mode(w->after, stdout);
	}
	printf("%s%s\n", w->labels ? (w->mode ? ", other labels" : "other labels") : "",
	    w->images ? (w->mode || w->labels ? ", other images" : "other images") : "");
}

static void
print_network(const struct policy_diff_network *n)
{
	static const char *const what[2][2] = { { "?", "fewer addresses" },
		{ "more addresses", "other addresses" } };

	printf("%c network %s: ", n->before == NULL ? '+' : n->after == NULL ? '-' : '~', n->name);
	if (n->before == NULL || n->after == NULL)
		puts(n->before == NULL ? "new" : "gone");
	else
		printf("%s; %zu edge%s\n", what[n->gained][n->lost], n->n_edges,
		    n->n_edges == 1 ? "" : "s");
}

static void
print_expiry(uint64_t ns)
{
	char text[TIME_STRLEN];

	fputs(ns != 0 ? time_format(ns, text) : "never", stdout);
}

static int
print_edge(const struct cli *cli, const struct policy_diff_edge *d)
{
	static const struct {
		char sign;
		enum colour colour;
	} looks[] = { { '+', COLOUR_GREEN }, { '-', COLOUR_RED }, { '>', COLOUR_YELLOW },
		{ '<', COLOUR_YELLOW }, { '!', COLOUR_YELLOW }, { '~', COLOUR_NONE } };
	const struct policy_edge *e = d->after != NULL ? d->after : d->before;
	_cleanup_free_ char *text = policy_edge_text(e), *was = NULL, *line = NULL;
	const char *moot = d->no_effect ? " (no effect)" : "";

	if (d->before != NULL)
		was = policy_edge_text(d->before);
	if (text == NULL || (d->before != NULL && was == NULL))
		return -ENOMEM;
	if (asprintf(&line, "%c %s %s %s%s", looks[d->kind].sign, policy_diff_kind_name(d->kind),
		edge_state_name(e->state), text, moot) < 0)
		return -ENOMEM;
	colour_print(stdout, line, looks[d->kind].colour, cli->out.colour);
	putchar('\n');
	if (d->kind == POLICY_DIFF_WIDENED || d->kind == POLICY_DIFF_NARROWED) {
		printf("    was %s\n", was);
	} else if (d->kind == POLICY_DIFF_REVERSED) {
		printf("    was %s\n", edge_state_name(d->before->state));
	} else if (d->kind == POLICY_DIFF_EXPIRY) {
		fputs("    expires ", stdout);
		print_expiry(d->after->expires_ns);
		fputs(", was ", stdout);
		print_expiry(d->before->expires_ns);
		putchar('\n');
	}
	return 0;
}

static int
print_diff(const struct cli *cli, const struct policy_diff *d)
{
	size_t counts[POLICY_DIFF_EXPIRY + 1] = { 0 }, modes = 0;
	int r = 0;

	if (policy_diff_is_empty(d)) {
		puts("no difference");
		return 0;
	}
	for (size_t i = 0; i < d->n_workloads; i++) {
		modes += d->workloads[i].mode;
		print_workload(&d->workloads[i]);
	}
	for (size_t i = 0; i < d->n_networks; i++)
		print_network(&d->networks[i]);
	for (size_t i = 0; r == 0 && i < d->n_edges; i++) {
		counts[d->edges[i].kind]++;
		r = print_edge(cli, &d->edges[i]);
	}
	printf("edges: ");
	for (size_t k = 0; k < ARRAY_SIZE(counts); k++)
		printf("%s%zu %s", k > 0 ? ", " : "", counts[k],
		    policy_diff_kind_name((enum policy_diff_kind)k));
	printf("; %zu mode%s, %zu network%s\n", modes, modes == 1 ? "" : "s", d->n_networks,
	    d->n_networks == 1 ? "" : "s");
	return r;
}

static int
load(const struct cli *cli, const char *what, struct policy **ret)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (what == NULL)
		return policy_get(cli, NULL, false, ret);
	/* A file of that name is ./12. */
	if (strspn(what, "0123456789") == strlen(what) && what[0] != '\0')
		return policy_get(cli, what, false, ret);
	return policy_file_read(what, &text, &len, ret);
}

int
policy_diff_run(struct cli *cli, const char *first, const char *second)
{
	_cleanup_(policy_freep) struct policy *a = NULL, *b = NULL;
	_cleanup_(policy_diff_freep) struct policy_diff *d = NULL;
	bool revision = strspn(first, "0123456789") == strlen(first);
	json_t *o;
	int r;

	/* One file: what applying it would do. One revision: what has happened since. */
	if (second == NULL && !revision) {
		second = first;
		first = NULL;
	}
	r = load(cli, first, &a);
	if (r == CLI_OK)
		r = load(cli, second, &b);
	if (r != CLI_OK)
		return r;
	if (policy_diff_new(a, b, &d) < 0)
		return cli_no_memory();
	if (d->gave_up)
		cli_warn("too many edges of one workload differ to compare each with each: some "
			 "that are listed as lost and gained may be wider or narrower ones");
	if (out_is_table(&cli->out)) {
		r = cli_printed(print_diff(cli, d));
	} else {
		o = diff_json(d);
		r = cli_printed(o != NULL ? out_document(&cli->out, o) : -ENOMEM);
		json_decref(o);
	}
	return r != CLI_OK ? r : policy_diff_is_empty(d) ? CLI_OK : CLI_DIFFERENCES;
}
