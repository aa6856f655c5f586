/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of the connections that are established now would be cut by other rules: TCP alone, by the
 * sockets of each namespace and who listens there, as before an enforcement (reconcile.c) and with
 * the judgement of cut.c. Seen at both ends, a connection counts once.
 */
#include "daemon/enforce.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/observe.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "daemon/whatif.h"

#include "rules/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LIVE_MAX 1000
#define SEEN_SLOTS 65536u

struct live {
	struct controller *c;
	struct instance *i;
	const struct match *rules;
	json_t *found; /* by what is shown of it */
	uint64_t *seen;
	size_t n_seen;
};

int
live_new(struct controller *c, struct live **ret)
{
	struct live *l = calloc(1, sizeof(*l));

	if (l != NULL) {
		l->c = c;
		l->found = json_object();
		l->seen = calloc(SEEN_SLOTS, sizeof(*l->seen));
	}
	if (l == NULL || l->found == NULL || l->seen == NULL) {
		live_free(l);
		return -ENOMEM;
	}
	*ret = l;
	return 0;
}

void
live_free(struct live *l)
{
	if (l == NULL)
		return;
	json_decref(l->found);
	free(l->seen);
	free(l);
}

/* True the second time; what finds no place is not remembered. */
static bool
is_known(struct live *l, const struct tuple *t)
{
	uint64_t hash = tuple_hash(t, l->c->seed) | 1;
	size_t at = hash & (SEEN_SLOTS - 1);

	while (l->seen[at] != 0 && l->seen[at] != hash)
		at = (at + 1) & (SEEN_SLOTS - 1);
	if (l->seen[at] == hash)
		return true;
	if (l->n_seen < SEEN_SLOTS / 2) {
		l->seen[at] = hash;
		l->n_seen++;
	}
	return false;
}

/* Whose address it is, without making a peer of it. */
static const char *
end_text(const struct live *l, const struct addr *a, char buf[static PEER_STRLEN])
{
	bool ambiguous;
	const struct instance *i = addr_map_find(l->c->addr_map, a, &ambiguous);
	const struct workload *w = i != NULL ? instance_counts_as(i) : NULL;
	struct peer p = { .kind = PEER_ADDR, .prefix = prefix_of(a, 128) };

	if (w != NULL)
		p = (struct peer){ .kind = PEER_WORKLOAD, .name = w->name };
	else if (i != NULL && i->is_host)
		p = (struct peer){ .kind = PEER_HOST };
	else if (addr_scope(a) == SCOPE_INTERNET)
		p = (struct peer){ .kind = PEER_INTERNET };
	return peer_format(&p, buf);
}

static void
add(struct live *l, const struct tuple *t)
{
	char from[PEER_STRLEN], to[PEER_STRLEN], key[2 * PEER_STRLEN + 64], safe[4 * sizeof(key)];
	json_t *o;

	end_text(l, &t->src, from);
	end_text(l, &t->dst, to);
	snprintf(key, sizeof(key), "%u %u %s %s", t->proto, t->dport, from, to);
	text_escape(key, strlen(key), safe, sizeof(safe));
	o = json_object_get(l->found, safe);
	if (o == NULL) {
		if (json_object_size(l->found) >= LIVE_MAX)
			return;
		o = json_object();
		json_object_set_new(o, "from", json_text(from));
		json_object_set_new(o, "to", json_text(to));
		json_set_port(o, t->proto, t->dport, t->dport);
		json_object_set_new(l->found, safe, o);
	}
	json_object_set_new(o, "connections",
	    json_integer(json_integer_value(json_object_get(o, "connections")) + 1));
}

static void
on_socket(void *arg, const struct tuple *socket)
{
	struct live *l = arg;
	struct tuple t = *socket, back;

	if (observe_orient(l->i, &t)) {
		if (cut_refuses(l->i, l->rules, &t) && !is_known(l, &t))
			add(l, &t);
		return;
	}
	/* Who called whom cannot be told: either way will do. */
	back = tuple_reverse(&t);
	if (cut_refuses(l->i, l->rules, &t) && cut_refuses(l->i, l->rules, &back) &&
	    !is_known(l, &t))
		add(l, &t);
}

void
live_look(struct live *l, const char *workload, const struct match *rules)
{
	struct workload *w = workload_find(l->c, workload);

	l->rules = rules;
	for (l->i = w != NULL ? w->instances : NULL; l->i != NULL; l->i = l->i->next_of_workload)
		if (l->i->attach == ATTACH_DONE && instance_counts_as(l->i) == w)
			(void)observe_established(l->i, on_socket, l);
}

static int
compare(const void *va, const void *vb)
{
	const json_t *a = *(json_t *const *)va, *b = *(json_t *const *)vb;
	json_int_t n_a = json_integer_value(json_object_get(a, "connections")),
		   n_b = json_integer_value(json_object_get(b, "connections"));

	return (n_a < n_b) - (n_a > n_b);
}

json_t *
live_to_json(const struct live *l)
{
	json_t *list[LIVE_MAX], *ret, *o;
	const char *key;
	size_t n = 0;

	if (l == NULL)
		return json_null();
	ret = json_array();
	json_object_foreach(l->found, key, o) list[n++] = o;
	qsort(list, n, sizeof(list[0]), compare);
	for (size_t k = 0; k < n; k++)
		json_array_append(ret, list[k]);
	return ret;
}
