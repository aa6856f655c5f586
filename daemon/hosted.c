/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Containers in the host's own network. They have no namespace, so no instance: what they do counts
 * as the host's, and nothing of it can be enforced. So that this is not overlooked, each is listed
 * under its workload, which is graded "no". Counted anew every second from what the engines said.
 */
#include "daemon/controller.h"
#include "daemon/instance.h"
#include "daemon/roster.h"
#include "rules/workload.h"

#include <stdio.h>

static bool
is_hosted(struct controller *c, const struct container *k)
{
	const struct container *owner = container_find(c, k->id);

	return owner != NULL && owner->host_network;
}

static struct workload *
workload_of(struct controller *c, const struct container *k)
{
	const struct workload_id *id = &container_find(c, k->id)->identity;
	struct workload *w = workload_find(c, id->name);

	if (w == NULL && workload_make_room(c, 1))
		w = workload_get(c, id->name);
	if (w != NULL && w->project[0] == '\0')
		workload_set_text(&w->project, id->project);
	return w;
}

static void
count(struct controller *c, const struct container *k)
{
	struct workload *w = workload_of(c, k);

	if (w == NULL)
		return;
	w->n_hosted++;
	c->n_hosted++;
	w->last_seen_ns = now_real();
	if (w->first_seen_ns == 0)
		w->first_seen_ns = w->last_seen_ns;
}

void
hosted_tick(struct controller *c)
{
	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		w->n_hosted = 0;
	c->n_hosted = 0;
	for (size_t b = 0; b < ARRAY_SIZE(c->containers); b++)
		for (const struct container *k = c->containers[b]; k != NULL; k = k->next)
			if (is_hosted(c, k))
				count(c, k);
}

void
hosted_each(struct controller *c, const struct workload *w,
    void (*fn)(void *arg, const struct container *k), void *arg)
{
	if (w->n_hosted == 0)
		return;
	for (size_t b = 0; b < ARRAY_SIZE(c->containers); b++)
		for (const struct container *k = c->containers[b]; k != NULL; k = k->next)
			if (is_hosted(c, k) && workload_of(c, k) == w)
				fn(arg, k);
}
