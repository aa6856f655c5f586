/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of servers in the first packets of connections -> labels of edges. They are shown beside
 * the evidence and nowhere else: no key, no rule and no decision has anything to do with them, as
 * whoever connects may write there what he likes.
 *
 * A name comes before or after the word of its connection's answer, which makes the edge. So it
 * waits, in a bounded list, and is put to the edge that serves the connection then; what has none
 * in the end is forgotten.
 */
#include "daemon/labels.h"

#include "daemon/controller.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/observe.h"

#include <netinet/in.h>
#include <string.h>

/* What the kernel counts is read once a second, and an end may have to be identified. */
#define WAIT_NS (10 * NSEC_PER_SEC)

void
labels_ask(struct instance *i)
{
	const struct w_labels body = {
		.cookie = i->ns.cookie,
		.on = i->ctl->config->server_names,
	};

	if (!i->is_host && i->attach == ATTACH_DONE)
		role_send(&i->ctl->loop, ROLE_WARDEN, MSG_W_LABELS, 0, &body, sizeof(body));
}

void
labels_ask_all(struct controller *c)
{
	for (struct instance *i = c->instances; i != NULL; i = i->next)
		labels_ask(i);
}

static bool
put_label(struct controller *c, const struct label_waiting *l)
{
	const struct flow_event ev = { .netns = l->netns,
		.time_ns = now_real(),
		.tuple = l->tuple,
		.kind = FLOW_ANSWERED,
		.count = 1 };
	struct edge *e = learn_edge_of(c, &ev);

	if (e == NULL)
		return false;
	edge_see_as(e, &l->name);
	return true;
}

void
labels_on_label(struct controller *c, struct msg *m)
{
	struct label_waiting l = { .time_ns = now_mono() };
	struct cap_label body;

	memcpy(&body, m->body, sizeof(body));
	l.netns = body.cookie;
	l.tuple = body.tuple;
	l.name.kind = (enum server_name_kind)body.kind;
	memcpy(l.name.name, body.name, sizeof(l.name.name));
	l.name.name[sizeof(l.name.name) - 1] = '\0';
	/* The capture role parses hostile packets: what it says is held to the same bounds. */
	if (!c->config->server_names || l.tuple.proto != IPPROTO_TCP ||
	    !flow_addr_is_canonical(&l.tuple.src) || !flow_addr_is_canonical(&l.tuple.dst) ||
	    server_name_kind(l.name.kind) == NULL || !server_name_valid(l.name.name) ||
	    instance_find(c, l.netns) == NULL)
		return;
	if (!put_label(c, &l) && c->n_labels < LABELS_WAITING)
		c->labels[c->n_labels++] = l;
}

void
labels_tick(struct controller *c)
{
	uint64_t now = now_mono();
	size_t kept = 0;

	for (size_t k = 0; k < c->n_labels; k++)
		if (now - c->labels[k].time_ns < WAIT_NS && !put_label(c, &c->labels[k]))
			c->labels[kept++] = c->labels[k];
	c->n_labels = kept;
}
