/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What pending edges mean, how risky they are, and their groups: most important first. */
#include "cli/review.h"
#include "cli/show.h"

#include <errno.h>
#include <string.h>

static const struct {
	uint16_t lo, hi;
	const char *meaning;
} services[] = {
	{ 22, 23, "administration" },
	{ 25, 25, "mail" },
	{ 53, 53, "names (DNS)" },
	{ 80, 80, "web" },
	{ 111, 111, "files" },
	{ 123, 123, "time (NTP)" },
	{ 389, 389, "directory" },
	{ 443, 443, "web" },
	{ 445, 445, "files" },
	{ 465, 465, "mail" },
	{ 514, 514, "logs" },
	{ 587, 587, "mail" },
	{ 636, 636, "directory" },
	{ 853, 853, "names (DNS)" },
	{ 1433, 1433, "database" },
	{ 1521, 1521, "database" },
	{ 1883, 1883, "messages" },
	{ 2049, 2049, "files" },
	{ 2375, 2380, "administration" },
	{ 3128, 3128, "web" },
	{ 3306, 3306, "database" },
	{ 3389, 3389, "administration" },
	{ 4222, 4222, "messages" },
	{ 4317, 4318, "metrics" },
	{ 5432, 5432, "database" },
	{ 5671, 5672, "messages" },
	{ 5900, 5900, "administration" },
	{ 5984, 5984, "database" },
	{ 6379, 6379, "database" },
	{ 6443, 6443, "administration" },
	{ 8000, 8000, "web" },
	{ 8080, 8080, "web" },
	{ 8086, 8086, "database" },
	{ 8443, 8443, "web" },
	{ 8883, 8883, "messages" },
	{ 9042, 9042, "database" },
	{ 9090, 9100, "metrics" },
	{ 9200, 9200, "database" },
	{ 10250, 10250, "administration" },
	{ 11211, 11211, "database" },
	{ 27017, 27019, "database" },
};

static const char *
meaning_of(const char *proto, int64_t port)
{
	if (strncmp(proto, "icmp", 4) == 0)
		return "ICMP";
	if (port == 9092)
		return "messages";
	for (size_t i = 0; i < ARRAY_SIZE(services); i++)
		if (port >= services[i].lo && port <= services[i].hi)
			return services[i].meaning;
	return "other";
}

static bool
is_sensitive(const char *meaning)
{
	return strcmp(meaning, "database") == 0 || strcmp(meaning, "administration") == 0;
}

size_t
review_project_len(const char *name)
{
	const char *slash = strchr(name, '/');

	return slash != NULL ? (size_t)(slash - name) : 0;
}

static bool
same_project(const char *a, const char *b)
{
	size_t n = review_project_len(a);

	return n == review_project_len(b) && strncmp(a, b, n) == 0;
}

static void
set_risk(struct review_edge *e, enum review_risk risk, const char *why)
{
	if (e->why != NULL && risk <= e->risk)
		return;
	e->risk = risk;
	e->why = why;
}

static void
judge(struct review_edge *e)
{
	const char *from = show_workload(e->from), *to = show_workload(e->to);
	const json_t *flags = show_in(e->json, "flags");
	bool sensitive = is_sensitive(e->meaning);

	if (show_has(flags, "image-changed"))
		set_risk(e, RISK_HIGH, "another image runs under the name");
	if (show_has(flags, "withdrawn"))
		set_risk(e, RISK_HIGH, "an approval was withdrawn");
	if (show_has(flags, "via-host"))
		set_risk(e, RISK_HIGH, "admits whoever reaches the published port");
	if (from == NULL && strncmp(e->from, "addr:", 5) != 0)
		set_risk(e, RISK_HIGH, "from outside");
	if (from != NULL && to != NULL && !same_project(from, to))
		set_risk(e, sensitive ? RISK_HIGH : RISK_MEDIUM, "between projects");
	if (to == NULL)
		set_risk(e, sensitive ? RISK_HIGH : RISK_MEDIUM, "to the outside");
	if (from == NULL)
		set_risk(e, RISK_MEDIUM, "from an address of no workload");
	if (show_has(flags, "midstream"))
		set_risk(e, RISK_MEDIUM, "its direction is not proven");
	if (show_has(flags, "one-way"))
		set_risk(e, RISK_MEDIUM, "never answered");
	if (show_has(flags, "one-end"))
		set_risk(e, RISK_MEDIUM, "seen at its destination alone");
	if (show_has(flags, "generalised"))
		set_risk(e, RISK_MEDIUM, "admits more than was seen");
	set_risk(e, RISK_LOW, "within one project");
}

const char *
review_risk_name(enum review_risk r)
{
	static const char *const names[] = { "low", "medium", "high" };

	return names[r];
}

const json_t *
review_workload(const struct review *v, const char *name)
{
	const json_t *list = show_in(v->status, "workloads"), *w;
	size_t i;

	json_array_foreach(list, i, w)
	{
		if (strcmp(show_text(w, "name", ""), name) == 0)
			return w;
	}
	return NULL;
}

static void
read_edge(const struct review *v, const json_t *json, struct review_edge *ret)
{
	struct review_edge e = { .json = json,
		.id = show_text(json, "id", ""),
		.from = show_text(json, "from", "?"),
		.to = show_text(json, "to", "?"),
		.port = show_int(json, "port", show_int(json, "type", -1)) };
	const char *to = show_workload(e.to), *from = show_workload(e.from);
	int mode;

	e.workload = to != NULL ? to : from != NULL ? from : e.to;
	e.other = to != NULL ? e.from : e.to;
	e.meaning = meaning_of(show_text(json, "proto", "?"), e.port);
	mode = mode_parse(show_text(review_workload(v, e.workload), "mode", "observe"));
	e.mode = mode >= 0 ? (enum wl_mode)mode : MODE_OBSERVE;
	judge(&e);
	*ret = e;
}

static bool
has_label(const struct policy *p, const char *peer, const char *label)
{
	const char *name = show_workload(peer), *sep = strchr(label, '=');
	const struct policy_workload *w = name != NULL ? policy_find_workload(p, name) : NULL;

	for (size_t i = 0; w != NULL && i < w->n_labels; i++)
		if (strncmp(w->labels[i].key, label, (size_t)(sep - label)) == 0 &&
		    w->labels[i].key[sep - label] == '\0' &&
		    strcmp(w->labels[i].value, sep + 1) == 0)
			return true;
	return false;
}

static bool
is_of_project(const char *peer, const char *project)
{
	const char *name = show_workload(peer);

	return name != NULL && strlen(project) == review_project_len(name) &&
	       strncmp(name, project, strlen(project)) == 0;
}

static bool
is_in_network(const struct policy *p, const char *text, const char *network)
{
	const struct policy_network *n = policy_find_network(p, network);
	char name[PEER_STRLEN];
	struct peer peer;

	if (strncmp(text, "network:", 8) == 0)
		return strcmp(text + 8, network) == 0;
	if (n == NULL || (strncmp(text, "addr:", 5) != 0 && strncmp(text, "cidr:", 5) != 0) ||
	    peer_parse(text + 5, name, &peer) < 0 ||
	    (peer.kind != PEER_ADDR && peer.kind != PEER_CIDR))
		return false;
	for (size_t i = 0; i < n->n_prefixes; i++)
		if (prefix_covers(&n->prefixes[i], &peer.prefix))
			return true;
	return false;
}

static bool
is_selected(const struct review *v, const struct review_select *s, const struct review_edge *e)
{
	if (s->label != NULL && !has_label(v->policy, e->from, s->label) &&
	    !has_label(v->policy, e->to, s->label))
		return false;
	if (s->project != NULL && !is_of_project(e->from, s->project) &&
	    !is_of_project(e->to, s->project))
		return false;
	return s->network == NULL || is_in_network(v->policy, e->from, s->network) ||
	       is_in_network(v->policy, e->to, s->network);
}

static int
group_compare(const struct review_edge *x, const struct review_edge *y)
{
	int c = (x->risk < y->risk) - (x->risk > y->risk);

	if (c == 0)
		c = (x->mode < y->mode) - (x->mode > y->mode);
	if (c == 0)
		c = strcmp(x->workload, y->workload);
	return c != 0 ? c : strcmp(x->meaning, y->meaning);
}

static int
edge_compare(const void *a, const void *b)
{
	const struct review_edge *x = a, *y = b;
	int c = group_compare(x, y);

	if (c == 0)
		c = strcmp(x->other, y->other);
	if (c == 0)
		c = (x->port > y->port) - (x->port < y->port);
	return c != 0 ? c : strcmp(x->id, y->id);
}

int
review_make_groups(struct review *v, const struct review_select *sel)
{
	const json_t *json;
	size_t i;

	free(v->list);
	free(v->groups);
	v->n = v->n_groups = v->n_left = 0;
	v->list = calloc(json_array_size(v->edges) + 1, sizeof(*v->list));
	v->groups = calloc(json_array_size(v->edges) + 1, sizeof(*v->groups));
	if (v->list == NULL || v->groups == NULL)
		return -ENOMEM;
	json_array_foreach(v->edges, i, json)
	{
		struct review_edge *e = &v->list[v->n];

		read_edge(v, json, e);
		if (strcmp(show_text(json, "state", ""), sel->state) != 0 ||
		    !is_selected(v, sel, e))
			continue;
		if (!sel->all && review_left_has(v->left, e->id))
			v->n_left++;
		else
			v->n++;
	}
	qsort(v->list, v->n, sizeof(*v->list), edge_compare);
	for (i = 0; i < v->n; i++) {
		if (i == 0 || group_compare(&v->list[i - 1], &v->list[i]) != 0)
			v->groups[v->n_groups++] = (struct review_group){ i, 0 };
		v->groups[v->n_groups - 1].n++;
	}
	return 0;
}
