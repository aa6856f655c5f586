/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workloads by what they have in common: the project or a network. Everybody is asked about for
 * everybody, and there may be ten thousand; so this is sorted once for all of these questions, and
 * within what is in common by who was seen last, where the answer ends.
 */
#include "daemon/controller.h"
#include "daemon/kin.h"
#include "daemon/network_list.h"
#include "daemon/roster.h"
#include "daemon/stopped.h"
#include "rules/complete.h"

#include <errno.h>
#include <string.h>

/* A workload, or a name that only containers have that do not run. */
struct member {
	const char *name;
	const struct workload *w; /* NULL: it has never been seen to run */
	uint64_t asked;		  /* the question that has counted it last */
};

struct tie {
	const char *name; /* of a project or a network; not terminated */
	size_t len;
	bool is_network;
	uint64_t last_seen_ns;
	size_t member; /* in order of appearance */
};

struct kin {
	const struct controller *c;
	struct member *members;
	struct tie *ties;
	size_t n_members, n_ties, max_ties;
	uint64_t *questions; /* one, apart: whoever asks changes nothing else */
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
	return r != 0 ? r : a->member < b->member ? -1 : a->member > b->member;
}

static int
cmp_stopped(const void *x, const void *y)
{
	const struct stopped *a = *(const struct stopped *const *)x;
	const struct stopped *b = *(const struct stopped *const *)y;

	return strcmp(a->name, b->name);
}

static int
add_tie(struct kin *k, size_t member, const char *name, size_t len, bool is_network)
{
	const struct workload *w = k->members[member].w;
	size_t max = k->max_ties > 0 ? 2 * k->max_ties : 64;
	struct tie *more;

	if (len == 0)
		return 0;
	if (k->n_ties == k->max_ties) {
		more = realloc(k->ties, max * sizeof(*more));
		if (more == NULL)
			return -ENOMEM;
		k->ties = more;
		k->max_ties = max;
	}
	k->ties[k->n_ties++] = (struct tie){ .name = name,
		.len = len,
		.is_network = is_network,
		.last_seen_ns = w != NULL ? w->last_seen_ns : 0,
		.member = member };
	return 0;
}

static int
tie_networks(struct kin *k, size_t member, const char *networks)
{
	const char *name;
	size_t n;
	int r = 0;

	while (r == 0 && (n = network_list_next(&networks, &name)) > 0)
		r = add_tie(k, member, name, n, true);
	return r;
}

static int
tie_workload(struct kin *k, const struct workload *w)
{
	size_t m = k->n_members++;
	int r;

	k->members[m] = (struct member){ .name = w->name, .w = w };
	r = tie_networks(k, m, w->networks);
	if (r == 0)
		r = add_tie(k, m, w->project, strlen(w->project), false);
	if (w->project[0] != '\0')
		return r;
	/* One that a policy names, and that has never run. */
	for (const char *p = strchr(w->name, '/'); r == 0 && p != NULL; p = strchr(p + 1, '/'))
		r = add_tie(k, m, w->name, (size_t)(p - w->name), false);
	return r;
}

/* Of each workload the member, by its peer; SIZE_MAX: none. */
static size_t *
members_by_peer(const struct kin *k)
{
	size_t n = peer_table_count(k->c->peers) + 2, *list = malloc(n * sizeof(*list));

	if (list == NULL)
		return NULL;
	memset(list, 0xff, n * sizeof(*list));
	for (size_t i = 0; i < k->n_members; i++)
		list[k->members[i].w->peer] = i;
	return list;
}

/* Many containers may be one workload, which may be known: it is one member. */
static int
tie_stopped(struct kin *k)
{
	_cleanup_free_ const struct stopped **list = calloc(k->c->n_stopped + 1, sizeof(*list));
	_cleanup_free_ size_t *known = members_by_peer(k);
	size_t n = 0, m = SIZE_MAX;
	int r = 0;

	if (list == NULL || known == NULL)
		return -ENOMEM;
	for (const struct stopped *s = k->c->stopped; s != NULL; s = s->next)
		list[n++] = s;
	qsort(list, n, sizeof(*list), cmp_stopped);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct peer p = { .kind = PEER_WORKLOAD, .name = list[i]->name };

		if (i == 0 || strcmp(list[i]->name, list[i - 1]->name) != 0)
			m = known[peer_lookup(k->c->peers, &p)];
		if (m == SIZE_MAX) {
			m = k->n_members++;
			k->members[m] = (struct member){ .name = list[i]->name };
		}
		r = tie_networks(k, m, list[i]->networks);
		if (r == 0)
			r = add_tie(k, m, list[i]->project, strlen(list[i]->project), false);
	}
	return r;
}

int
kin_new(const struct controller *c, struct kin **ret)
{
	_cleanup_(kin_freep) struct kin *k = calloc(1, sizeof(*k));
	int r = 0;

	if (k == NULL)
		return -ENOMEM;
	k->c = c;
	k->members = calloc(c->n_workloads + c->n_stopped + 1, sizeof(*k->members));
	k->questions = calloc(1, sizeof(*k->questions));
	if (k->members == NULL || k->questions == NULL)
		return -ENOMEM;
	for (const struct workload *w = c->workloads; r == 0 && w != NULL; w = w->next)
		r = tie_workload(k, w);
	if (r == 0 && c->stopped != NULL)
		r = tie_stopped(k);
	if (r < 0)
		return r;
	if (k->n_ties > 0)
		qsort(k->ties, k->n_ties, sizeof(k->ties[0]), cmp_tie);
	*ret = steal_ptr(k);
	return 0;
}

void
kin_free(struct kin *k)
{
	if (k == NULL)
		return;
	free(k->members);
	free(k->ties);
	free(k->questions);
	free(k);
}

/* The first with that name. */
static size_t
find_first(const struct kin *k, const struct tie *name)
{
	size_t lo = 0, hi = k->n_ties;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (cmp_name(&k->ties[mid], name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Is it another one, that does not run, and was it not counted for this question yet? */
static bool
is_missing(const struct kin *k, const struct workload *w, struct member *m)
{
	if (m->w == w || (m->w != NULL && (m->w->instances != NULL || m->w->n_hosted > 0)) ||
	    m->asked == *k->questions || !workload_selected(k->c, m->name))
		return false;
	m->asked = *k->questions;
	return true;
}

size_t
kin_missing(
    const struct kin *k, const struct workload *w, size_t enough, const char **ret, size_t max)
{
	struct tie names[1 + NETWORK_LIST_MAX] = { { .name = w->project,
	    .len = strlen(w->project) } };
	uint64_t since = w->log != NULL ? w->log->begin * COMPLETE_HOUR_NS : UINT64_MAX;
	const char *pos = w->networks;
	size_t n = 0, n_names = 1;

	while (n_names < ARRAY_SIZE(names) &&
	       (names[n_names].len = network_list_next(&pos, &names[n_names].name)) > 0)
		names[n_names++].is_network = true;
	++*k->questions;
	for (size_t i = 0; i < n_names; i++) {
		size_t at = names[i].len > 0 ? find_first(k, &names[i]) : k->n_ties;

		for (; n < enough && at < k->n_ties && cmp_name(&k->ties[at], &names[i]) == 0 &&
		       k->ties[at].last_seen_ns < since;
		     at++) {
			struct member *m = &k->members[k->ties[at].member];

			if (!is_missing(k, w, m))
				continue;
			if (n < max)
				ret[n] = m->name;
			n++;
		}
	}
	return n;
}
