/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See quarantine.h. Who is held, and what is left to him. */
#include "daemon/instance.h"
#include "daemon/quarantine.h"
#include "daemon/roster.h"

#include "daemon/controller.h"
#include "daemon/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

struct quarantine *
quarantine_of_workload(const struct controller *c, const struct workload *w)
{
	for (struct quarantine *q = c->quarantines; w != NULL && q != NULL; q = q->next)
		if (q->workload != NULL && strcmp(q->workload, w->name) == 0)
			return q;
	return NULL;
}

struct quarantine *
quarantine_of_container(const struct controller *c, const char *id)
{
	for (struct quarantine *q = c->quarantines; *id != '\0' && q != NULL; q = q->next)
		if (strcmp(q->container, id) == 0)
			return q;
	return NULL;
}

struct quarantine *
quarantine_of(const struct instance *i)
{
	const struct container *k;
	struct quarantine *q;
	size_t pos = 0;

	if (i == NULL || i->is_host || i->ctl->quarantines == NULL)
		return NULL;
	q = quarantine_of_workload(i->ctl, i->workload);
	if (q == NULL)
		q = quarantine_of_container(i->ctl, i->ns.container_id);
	while (q == NULL && (k = instance_next_member(i, &pos)) != NULL)
		q = quarantine_of_container(i->ctl, k->id);
	return q;
}

bool
quarantine_any(const struct controller *c)
{
	for (const struct quarantine *q = c->quarantines; q != NULL; q = q->next)
		if (q->workload == NULL || workload_selected(c, q->workload))
			return true;
	return false;
}

static int
add_edge(struct policy *p, const struct quarantine *q, const char *allow, const char *workload,
    uint8_t proto)
{
	struct policy_edge *e = &p->edges[p->n_edges];
	char name[PEER_STRLEN];
	struct peer from;

	if (peer_parse(allow, name, &from) < 0)
		return -EINVAL;
	*e = (struct policy_edge){
		.proto = proto, .port_lo = 0, .port_hi = 65535, .state = EDGE_APPROVED
	};
	e->from = from;
	e->from.name = from.name != NULL ? strdup(from.name) : NULL;
	e->to = (struct peer){ .kind = PEER_WORKLOAD, .name = strdup(workload) };
	p->n_edges++;
	return e->to.name == NULL || (from.name != NULL && e->from.name == NULL) ? -ENOMEM : 0;
}

int
quarantine_policy(const struct quarantine *q, const char *workload, struct policy **ret)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP,
		IPPROTO_ICMPV6 };
	_cleanup_(policy_freep) struct policy *p = calloc(1, sizeof(*p));
	int r = 0;

	if (p == NULL)
		return -ENOMEM;
	p->workloads = calloc(1, sizeof(*p->workloads));
	p->edges = calloc(q->n_allow * ARRAY_SIZE(protos) + 1, sizeof(*p->edges));
	if (p->workloads == NULL || p->edges == NULL)
		return -ENOMEM;
	p->n_workloads = 1;
	p->workloads[0] = (struct policy_workload){
		.name = strdup(workload), .mode = MODE_ENFORCE, .direction = WL_BOTH
	};
	if (p->workloads[0].name == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < q->n_allow; i++)
		for (size_t k = 0; r == 0 && k < ARRAY_SIZE(protos); k++)
			r = add_edge(p, q, q->allow_from[i], workload, protos[k]);
	if (r == 0)
		*ret = steal_ptr(p);
	return r;
}

void
quarantine_forget_hours(struct quarantine *q, uint64_t now)
{
	size_t old = 0;

	while (old < q->n_hours && q->hours[old].hour + QUARANTINE_HOURS <= now)
		old++;
	if (old == 0)
		return;
	q->n_hours -= old;
	memmove(q->hours, q->hours + old, q->n_hours * sizeof(*q->hours));
	q->dirty = true;
}

void
quarantine_on_refused(const struct instance *i, uint64_t time_ns, uint64_t count)
{
	struct quarantine *q = quarantine_of(i);
	uint64_t hour = time_ns / (3600 * NSEC_PER_SEC);
	struct quarantine_hour *last;

	if (q == NULL)
		return;
	if (q->hours == NULL)
		q->hours = calloc(QUARANTINE_HOURS, sizeof(*q->hours));
	if (q->hours == NULL)
		return;
	quarantine_forget_hours(q, hour);
	last = q->n_hours > 0 ? &q->hours[q->n_hours - 1] : NULL;
	/* A clock that went back adds to the hour that is there. */
	if (last == NULL || last->hour < hour) {
		last = &q->hours[q->n_hours++];
		*last = (struct quarantine_hour){ .hour = hour };
	}
	last->refused += count;
	q->dirty = true;
}
