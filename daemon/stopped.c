/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See stopped.h. Beyond STOPPED_MAX no more are taken: those are then not waited for. */
#include "daemon/stopped.h"

#include "daemon/controller.h"
#include "daemon/instance.h"

#include <string.h>

static void
stopped_free(struct stopped *s)
{
	if (s == NULL)
		return;
	free(s->name);
	free(s->project);
	free(s->networks);
	free(s);
}

void
stopped_forget(struct controller *c, const char *id)
{
	struct stopped **p = &c->stopped, *s;

	while (*p != NULL && strcmp((*p)->id, id) != 0)
		p = &(*p)->next;
	if (*p == NULL)
		return;
	s = *p;
	*p = s->next;
	c->n_stopped--;
	stopped_free(s);
}

void
stopped_clear(struct controller *c)
{
	while (c->stopped != NULL)
		stopped_forget(c, c->stopped->id);
}

void
stopped_on_told(struct controller *c, const char *json, size_t len)
{
	struct container *k = NULL;
	struct stopped *s;

	if (container_parse(c, json, len, &k) < 0)
		return;
	stopped_forget(c, k->id);
	s = c->n_stopped < STOPPED_MAX ? calloc(1, sizeof(*s)) : NULL;
	if (s != NULL) {
		memcpy(s->id, k->id, sizeof(s->id));
		s->name = strdup(k->identity.name);
		s->project = strdup(k->identity.project);
		s->networks = steal_ptr(k->networks);
	}
	container_free(k);
	if (s == NULL || s->name == NULL || s->project == NULL || s->networks == NULL) {
		stopped_free(s);
		return;
	}
	s->next = c->stopped;
	c->stopped = s;
	c->n_stopped++;
}

void
stopped_on_gone(struct controller *c, const struct d_id *d)
{
	if (memchr(d->id, 0, sizeof(d->id)) != NULL)
		stopped_forget(c, d->id);
}
