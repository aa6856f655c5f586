/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The workloads: in order of appearance, bounded. */
#include "daemon/instance.h"
#include "daemon/roster.h"
#include "daemon/segment_internal.h"
#include "rules/names.h"
#include "rules/workload.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#define MAX_PER_USER 64

bool
workload_selected(const struct controller *c, const char *name)
{
	return c->only == NULL || fnmatch(c->only, name, 0) == 0;
}

static struct workload **
peer_slot(struct controller *c, peer_id id)
{
	return &c->by_peer[id % ARRAY_SIZE(c->by_peer)];
}

struct workload *
workload_find(struct controller *c, const char *name)
{
	const struct peer p = { .kind = PEER_WORKLOAD, .name = name };
	peer_id id = peer_lookup(c->peers, &p);
	struct workload *w = id != 0 ? *peer_slot(c, id) : NULL;

	while (w != NULL && w->peer != id)
		w = w->next_of_peer;
	return w;
}

void
roster_bound_user(struct controller *c, struct workload_id *id)
{
	size_t n = 0;

	if (id->project[0] == '\0' || workload_find(c, id->name) != NULL)
		return;
	for (const struct workload *w = c->workloads; w != NULL; w = w->next)
		n += strcmp(w->project, id->project) == 0;
	if (n >= MAX_PER_USER)
		snprintf(id->name, sizeof(id->name), "%s/others", id->project);
}

/* Most have none, and there may be a hundred thousand. */
static const char no_text[] = "";

static void
free_text(const char *text)
{
	if (text != no_text)
		free((char *)text);
}

struct workload *
workload_get(struct controller *c, const char *name)
{
	struct workload *w = workload_find(c, name);
	struct peer p = { .kind = PEER_WORKLOAD, .name = name };

	if (w != NULL)
		return w;
	if (c->n_workloads >= CTL_MAX_WORKLOADS)
		return NULL;
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return NULL;
	w->name = strdup(name);
	if (w->name == NULL || peer_intern(c->peers, &p, &w->peer) < 0) {
		free(w->name);
		free(w);
		return NULL;
	}
	w->project = w->networks = no_text;
	w->mode = MODE_OBSERVE;
	w->direction = WL_BOTH;
	w->mode_since_ns = now_real();
	w->dirty = true;
	*c->workloads_tail = w;
	c->workloads_tail = &w->next;
	w->next_of_peer = *peer_slot(c, w->peer);
	*peer_slot(c, w->peer) = w;
	c->n_workloads++;
	return w;
}

void
workload_set_text(const char **text, const char *value)
{
	const char *copy = value[0] != '\0' ? strdup(value) : no_text;

	if (copy == NULL)
		return;
	free_text(*text);
	*text = copy;
}

void
workload_free(struct workload *w)
{
	free_text(w->project);
	free_text(w->networks);
	labels_free(w->labels, w->n_labels);
	labels_free(w->selector, w->n_selector);
	texts_free(w->images, w->n_images);
	free(w->mode_reason);
	free(w->log);
	name_table_free(w->names);
	free(w->promotion);
	free(w->mode_by);
	free(w->activity);
	free(w->name);
	free(w);
}

void
workload_remove(struct controller *c, struct workload *w)
{
	struct workload **p = &c->workloads;

	while (*p != w)
		p = &(*p)->next;
	*p = w->next;
	if (c->workloads_tail == &w->next)
		c->workloads_tail = p;
	p = peer_slot(c, w->peer);
	while (*p != w)
		p = &(*p)->next_of_peer;
	*p = w->next_of_peer;
	c->n_workloads--;
	workload_free(w);
}

static bool
is_observed(const struct workload *w)
{
	for (const struct instance *i = w->instances; i != NULL; i = i->next_of_workload)
		if (i->attach != ATTACH_DONE)
			return false;
	return w->instances != NULL;
}

/* Time counts only while it was looked at: not while the daemon or the workload was away. */
void
workload_count_observed(struct controller *c)
{
	const uint64_t minute = 60 * NSEC_PER_SEC;
	uint64_t now = now_mono(), passed = now - c->ticked_ns;

	if (c->ticked_ns == 0 || passed > 10 * NSEC_PER_SEC)
		passed = 0;
	c->ticked_ns = now;
	for (struct workload *w = c->workloads; w != NULL; w = w->next) {
		uint64_t before = w->observed_ns;

		if (!is_observed(w))
			continue;
		w->observed_ns += passed;
		w->dirty |= before / minute != w->observed_ns / minute;
	}
}
