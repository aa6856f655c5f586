/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workloads by what they have in common: the project or the network. Everybody is asked about for
 * everybody, and there may be ten thousand; so this is sorted once for all of these questions, and
 * within what is in common by who was seen last, where the answer ends.
 */
#include "daemon/controller.h"
#include "daemon/kin.h"
#include "daemon/roster.h"
#include "rules/complete.h"

#include <errno.h>
#include <string.h>

struct tie {
	const char *name; /* of a project or a network; not terminated */
	size_t len;
	bool is_network;
	uint64_t last_seen_ns;
	size_t order; /* of appearance */
	const struct workload *w;
};

struct kin {
	const struct controller *c;
	size_t n;
	struct tie ties[];
};

static int
cmp_name(const struct tie *a, const struct tie *b)
{
	if (a->is_network != b->is_network)
		return a->is_network ? 1 : -1;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return memcmp(a->name, b->name, a->len);
}

static int
cmp_tie(const void *x, const void *y)
{
	const struct tie *a = x, *b = y;
	int r = cmp_name(a, b);

	if (r == 0)
		r = a->last_seen_ns < b->last_seen_ns ? -1 : a->last_seen_ns > b->last_seen_ns;
	return r != 0 ? r : a->order < b->order ? -1 : 1;
}

/* One more at the end of the list, or only counted. */
static void
add_tie(struct kin *k, size_t *n, const struct tie *t)
{
	if (t->len == 0)
		return;
	if (k != NULL)
		k->ties[*n] = *t;
	++*n;
}

/* Those of all workloads, to k unless that is NULL; how many. */
static size_t
tie_all(const struct controller *c, struct kin *k)
{
	size_t n = 0, order = 0;

	for (const struct workload *w = c->workloads; w != NULL; w = w->next) {
		struct tie t = { w->network, strlen(w->network), true, w->last_seen_ns, order++,
			w };

		add_tie(k, &n, &t);
		t.is_network = false;
		t.name = w->project;
		t.len = strlen(w->project);
		add_tie(k, &n, &t);
		if (t.len > 0)
			continue;
		/* One that a policy names, and that has never run. */
		t.name = w->name;
		for (const char *p = strchr(w->name, '/'); p != NULL; p = strchr(p + 1, '/')) {
			t.len = (size_t)(p - w->name);
			add_tie(k, &n, &t);
		}
	}
	return n;
}

int
kin_new(const struct controller *c, struct kin **ret)
{
	size_t n = tie_all(c, NULL);
	struct kin *k = malloc(sizeof(*k) + n * sizeof(k->ties[0]));

	if (k == NULL)
		return -ENOMEM;
	k->c = c;
	k->n = tie_all(c, k);
	qsort(k->ties, k->n, sizeof(k->ties[0]), cmp_tie);
	*ret = k;
	return 0;
}

void
kin_free(struct kin *k)
{
	free(k);
}

/* The first with that name. */
static size_t
find_first(const struct kin *k, const struct tie *name)
{
	size_t lo = 0, hi = k->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (cmp_name(&k->ties[mid], name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool
is_of_project(const struct workload *w, const char *project)
{
	size_t len = strlen(project);

	if (w->project[0] != '\0')
		return strcmp(w->project, project) == 0;
	return len > 0 && strncmp(w->name, project, len) == 0 && w->name[len] == '/';
}

size_t
kin_missing(const struct kin *k, const struct workload *w, size_t enough,
    const struct workload **ret, size_t max)
{
	const struct tie names[] = {
		{ .name = w->project, .len = strlen(w->project) },
		{ .name = w->network, .len = strlen(w->network), .is_network = true },
	};
	uint64_t since = w->log != NULL ? w->log->begin * COMPLETE_HOUR_NS : UINT64_MAX;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t at = names[i].len > 0 ? find_first(k, &names[i]) : k->n;

		for (; n < enough && at < k->n && cmp_name(&k->ties[at], &names[i]) == 0 &&
		       k->ties[at].last_seen_ns < since;
		     at++) {
			const struct workload *o = k->ties[at].w;

			if (o == w || o->instances != NULL || o->n_hosted > 0 ||
			    (names[i].is_network && is_of_project(o, w->project)) ||
			    !workload_selected(k->c, o->name))
				continue;
			if (n < max)
				ret[n] = o;
			n++;
		}
	}
	return n;
}
