/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A policy as a value: its memory, its lookups and the names of modes and directions. */
#include "rules/policy_internal.h"

#include <errno.h>
#include <string.h>

static const char *const mode_names[] = {
	[MODE_OBSERVE] = "observe",
	[MODE_AUDIT] = "audit",
	[MODE_ENFORCE] = "enforce",
};

static const char *const direction_names[] = {
	[WL_INGRESS] = "ingress",
	[WL_EGRESS] = "egress",
	[WL_BOTH] = "both",
};

static void
labels_free(struct policy_label *l, size_t n)
{
	for (size_t i = 0; l != NULL && i < n; i++) {
		free(l[i].key);
		free(l[i].value);
	}
	free(l);
}

void
policy_free(struct policy *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; p->networks != NULL && i < p->n_networks; i++) {
		free(p->networks[i].name);
		free(p->networks[i].prefixes);
	}
	for (size_t i = 0; p->workloads != NULL && i < p->n_workloads; i++) {
		struct policy_workload *w = &p->workloads[i];

		free(w->name);
		labels_free(w->selector, w->n_selector);
		labels_free(w->labels, w->n_labels);
		for (size_t k = 0; w->images != NULL && k < w->n_images; k++)
			free(w->images[k]);
		free(w->images);
	}
	for (size_t i = 0; p->edges != NULL && i < p->n_edges; i++) {
		struct policy_edge *e = &p->edges[i];

		free((char *)e->from.name);
		free((char *)e->to.name);
		free(e->reason);
		free(e->ticket);
	}
	policy_index_free(p->index);
	free(p->networks);
	free(p->workloads);
	free(p->edges);
	free(p->name);
	free(p);
}

const struct policy_workload *
policy_find_workload(const struct policy *p, const char *name)
{
	for (size_t i = 0; i < p->n_workloads; i++)
		if (strcmp(p->workloads[i].name, name) == 0)
			return &p->workloads[i];
	return NULL;
}

const struct policy_network *
policy_find_network(const struct policy *p, const char *name)
{
	for (size_t i = 0; i < p->n_networks; i++)
		if (strcmp(p->networks[i].name, name) == 0)
			return &p->networks[i];
	return NULL;
}

static int
name_index(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (names[i] != NULL && strcmp(names[i], name) == 0)
			return (int)i;
	return -EINVAL;
}

const char *
mode_name(enum wl_mode m)
{
	return (size_t)m < ARRAY_SIZE(mode_names) ? mode_names[m] : NULL;
}

int
mode_parse(const char *name)
{
	return name_index(mode_names, ARRAY_SIZE(mode_names), name);
}

const char *
direction_name(enum wl_direction d)
{
	return (size_t)d < ARRAY_SIZE(direction_names) ? direction_names[d] : NULL;
}

int
direction_parse(const char *name)
{
	return name_index(direction_names, ARRAY_SIZE(direction_names), name);
}

enum wl_mode
mode_in(enum wl_mode m, enum wl_direction governed, enum flow_dir dir)
{
	/* The two enumerations share their bits. */
	return ((unsigned)governed & (unsigned)dir) != 0 ? m : MODE_OBSERVE;
}
