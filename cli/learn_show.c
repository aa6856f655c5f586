/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a capture taught, as a table, as JSON or YAML, or as a policy file. */
#include "cli/learn.h"
#include "cli/show.h"

#include "rules/flow.h"
#include "rules/json.h"
#include "rules/policy.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

static const struct table_col cols[] = {
	{ "FROM", COL_CUT, 8, 0 },
	{ "TO", COL_CUT, 8, 0 },
	{ "PORT", COL_CUT, 8, 0 },
	{ "CONN", COL_RIGHT, 0, 0 },
	{ "BYTES", COL_RIGHT, 0, 0 },
	{ "FLAGS", COL_EMPTY, 0, 0 },
	{ "FIRST", COL_WIDE, 0, 0 },
	{ "LAST", COL_WIDE, 0, 0 },
	{ "COVERS", COL_WIDE | COL_EMPTY, 0, 0 },
	{ "SEEN AS", COL_WIDE | COL_EMPTY, 0, 0 },
};

struct sorted_edge {
	char from[PEER_STRLEN], to[PEER_STRLEN];
	const struct edge *edge;
};

static int
compare(const void *va, const void *vb)
{
	const struct sorted_edge *a = va, *b = vb;
	int c = strcmp(a->from, b->from);

	if (c == 0)
		c = strcmp(a->to, b->to);
	if (c == 0)
		c = (int)a->edge->key.proto - (int)b->edge->key.proto;
	return c != 0 ? c : (int)a->edge->key.port_lo - (int)b->edge->key.port_lo;
}

static json_t *
edges_json(const struct offline *o)
{
	const struct edge_table *edges = offline_edges(o);
	const struct peer_table *peers = offline_peers(o);
	size_t n = edge_table_count(edges), pos = 0, k = 0;
	_cleanup_free_ struct sorted_edge *list = calloc(n + 1, sizeof(*list));
	json_t *ret = json_array();
	const struct edge *e;

	while (list != NULL && k < n && (e = edge_table_next(edges, &pos)) != NULL) {
		peer_format(peer_get(peers, e->key.from), list[k].from);
		peer_format(peer_get(peers, e->key.to), list[k].to);
		list[k++].edge = e;
	}
	if (list != NULL)
		qsort(list, k, sizeof(*list), compare);
	for (size_t i = 0; list != NULL && i < k; i++)
		json_array_append_new(ret, json_edge(peers, list[i].edge));
	if (json_array_size(ret) == n)
		return ret;
	json_decref(ret);
	return NULL;
}

static json_t *
tunnels_json(const struct offline *o)
{
	json_t *ret = json_array();
	char src[ADDR_STRLEN], dst[ADDR_STRLEN];
	size_t n;
	const struct offline_tunnel *t = offline_tunnels(o, &n);

	for (size_t i = 0; i < n; i++)
		json_array_append_new(
		    ret, json_pack("{s:s, s:s, s:s, s:I}", "kind", t[i].kind, "src",
			     addr_format(&t[i].src, src), "dst", addr_format(&t[i].dst, dst),
			     "frames", (json_int_t)t[i].frames));
	return ret;
}

static json_t *
services_json(const struct offline *o)
{
	json_t *ret = json_array();
	char addr[ADDR_STRLEN];
	size_t n;
	const struct service *s = offline_services(o, &n);

	for (size_t i = 0; i < n; i++) {
		json_t *one = json_pack("{s:s, s:I, s:o}", "address", addr_format(&s[i].addr, addr),
		    "connections", (json_int_t)s[i].connections, "flags", json_flags(s[i].flags));

		json_set_port(one, s[i].proto, s[i].port, s[i].port);
		json_array_append_new(ret, one);
	}
	return ret;
}

static json_t *
answer_json(const struct capture *c)
{
	const struct offline *o = c->o;
	struct offline_stats s;
	json_t *edges = edges_json(o);

	if (edges == NULL)
		return NULL;
	offline_stats(o, &s);
	return json_pack(
	    "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:o, s:I, s:b, s:s?}",
	    "frames", (json_int_t)s.frames, "malformed", (json_int_t)s.malformed, "other",
	    (json_int_t)s.other, "flows", (json_int_t)s.flows, "attempts", (json_int_t)s.attempts,
	    "evicted", (json_int_t)s.evicted, "lost", (json_int_t)s.lost, "dnsBroken",
	    (json_int_t)s.dns_broken, "edges", edges, "tunnels", tunnels_json(o),
	    "otherTunnelFrames", (json_int_t)s.unlisted, "services", services_json(o),
	    "otherServiceConnections", (json_int_t)s.services_lost, "truncated",
	    c->unread[0] != '\0', "truncatedWhy", c->unread[0] != '\0' ? c->unread : NULL);
}

static void
add_edge(struct table *t, const json_t *e, char letters[static SHOW_FLAGS_LEN])
{
	char number[SHOW_NUMBER_LEN], flags[SHOW_FLAGS_LEN];
	char covers[SHOW_COVERS_LEN], names[SHOW_SEEN_AS_LEN];

	show_cells_route(t, e);
	table_cell(t, show_number(show_int(e, "connections", 0), number), COLOUR_NONE);
	table_cell(t, show_bytes(show_int(e, "bytes", -1), number), COLOUR_NONE);
	table_cell(t, show_flags(show_in(e, "flags"), flags), COLOUR_DIM);
	show_flags_collect(flags, letters);
	table_cell(t, show_text(e, "firstSeen", "-"), COLOUR_NONE);
	table_cell(t, show_text(e, "lastSeen", "-"), COLOUR_NONE);
	table_cell(t, show_covers(e, covers), COLOUR_NONE);
	table_cell(t, show_seen_as(e, names), COLOUR_NONE);
}

static void
print_sums(const json_t *answer)
{
	static const struct {
		const char *key, *text, *plural;
	} parts[] = {
		{ "frames", "frame", "s" },
		{ "malformed", "malformed", "" },
		{ "other", "without a connection", "" },
		{ "flows", "answered connection", "s" },
		{ "attempts", "attempt", "s" },
	};
	char number[SHOW_NUMBER_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int64_t n = show_int(answer, parts[i].key, 0);

		printf("%s%s %s%s", i > 0 ? ", " : "", show_number(n, number), parts[i].text,
		    n == 1 ? "" : parts[i].plural);
	}
	putchar('\n');
}

static void
print_tunnels(const json_t *answer)
{
	int64_t n, others = show_int(answer, "otherTunnelFrames", 0);
	char number[SHOW_NUMBER_LEN];
	const json_t *t;
	size_t i;

	json_array_foreach(show_in(answer, "tunnels"), i, t)
	{
		n = show_int(t, "frames", 0);
		printf("tunnel %s from %s to %s, %s frame%s: what is inside was not looked at\n",
		    show_text(t, "kind", "?"), show_text(t, "src", "?"), show_text(t, "dst", "?"),
		    show_number(n, number), n == 1 ? "" : "s");
	}
	if (others > 0)
		printf("%s frame%s of more tunnels\n", show_number(others, number),
		    others == 1 ? "" : "s");
}

static int
print_table(const struct cli *cli, const json_t *answer)
{
	_cleanup_(table_freep) struct table *t = NULL;
	char letters[SHOW_FLAGS_LEN] = "", legend[SHOW_LEGEND_LEN];
	const json_t *edges = show_in(answer, "edges"), *e;
	size_t i;
	int r = table_new(cols, ARRAY_SIZE(cols), &t);

	if (r < 0)
		return r;
	json_array_foreach(edges, i, e) add_edge(t, e, letters);
	if (table_rows(t) > 0)
		r = out_table(&cli->out, t, stdout);
	if (r < 0)
		return r;
	if (letters[0] != '\0')
		printf("flags: %s\n", show_flags_legend(letters, legend));
	print_sums(answer);
	print_tunnels(answer);
	if (json_is_true(show_in(answer, "truncated")))
		printf("%s\n", show_text(answer, "truncatedWhy", ""));
	return ferror(stdout) ? -EIO : 0;
}

/* Borrows the names of the peers; only the arrays are its own. */
static int
policy_of(const struct offline *o, struct policy *ret)
{
	const struct edge_table *edges = offline_edges(o);
	const struct peer_table *peers = offline_peers(o);
	const struct peer *p;
	const struct edge *e;
	size_t pos = 0;

	ret->edges = calloc(edge_table_count(edges) + 1, sizeof(*ret->edges));
	ret->workloads = calloc(peer_table_count(peers) + 1, sizeof(*ret->workloads));
	if (ret->edges == NULL || ret->workloads == NULL)
		return -ENOMEM;
	for (peer_id id = 1; (p = peer_get(peers, id)) != NULL; id++)
		if (p->kind == PEER_WORKLOAD)
			ret->workloads[ret->n_workloads++] =
			    (struct policy_workload){ .name = (char *)p->name,
				    .direction = WL_BOTH };
	while ((e = edge_table_next(edges, &pos)) != NULL) {
		struct policy_edge *pe = &ret->edges[ret->n_edges++];

		*pe = (struct policy_edge){ .from = *peer_get(peers, e->key.from),
			.to = *peer_get(peers, e->key.to),
			.proto = e->key.proto,
			.port_lo = e->key.port_lo,
			.port_hi = e->key.port_hi,
			.state = EDGE_PENDING };
		memcpy(pe->id, e->id, sizeof(pe->id));
	}
	return 0;
}

static int
print_policy(const struct offline *o)
{
	struct policy p = { .name = (char *)"learned" };
	_cleanup_free_ char *text = NULL;
	int r = policy_of(o, &p);

	if (r == 0)
		r = policy_to_yaml(&p, &text);
	free(p.edges);
	free(p.workloads);
	if (r < 0)
		return r;
	fputs(text, stdout);
	return ferror(stdout) ? -EIO : 0;
}

int
learn_show(const struct cli *cli, const struct capture *c, bool as_policy)
{
	json_t *answer;
	int r;

	if (as_policy)
		return print_policy(c->o);
	answer = answer_json(c);
	if (answer == NULL)
		return -ENOMEM;
	r = out_is_table(&cli->out) ? print_table(cli, answer) : out_document(&cli->out, answer);
	json_decref(answer);
	return r;
}
