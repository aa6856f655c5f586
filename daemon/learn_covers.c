/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a decided edge speaks of a connection whose ends go by other words than its own. */
#include "daemon/controller.h"
#include "daemon/learn.h"
#include "daemon/names.h"
#include "daemon/roster.h"
#include "rules/compile.h"
#include "rules/names.h"

/* A name's peer is as good as the address that it stands for. */
static bool
covers_name(struct controller *c, const struct peer *decided, const struct edge_key *observed,
    const struct tuple *t)
{
	const struct peer *from = peer_get(c->peers, observed->from);
	const struct peer *to = peer_get(c->peers, observed->to);

	if (decided->kind == PEER_INTERNET)
		return to->kind == PEER_FQDN;
	if (decided->kind != PEER_FQDN)
		return false;
	return (to->kind == PEER_FQDN && name_covers(decided->name, to->name)) ||
	       (from->kind == PEER_WORKLOAD && to->kind != PEER_WORKLOAD && to->kind != PEER_HOST &&
		   names_match(workload_find(c, from->name), decided->name, &t->dst));
}

bool
learn_covers(
    void *arg, const struct edge *decided, const struct edge_key *observed, const struct tuple *t)
{
	struct controller *c = arg;
	const struct peer *from = peer_get(c->peers, decided->key.from);
	const struct peer *to = peer_get(c->peers, decided->key.to);
	struct inventory none = { 0 };
	bool named;

	if (decided->key.proto != observed->proto || observed->port_lo < decided->key.port_lo ||
	    observed->port_hi > decided->key.port_hi)
		return false;
	named = covers_name(c, to, observed, t);
	/* An address of a workload or of the host is not the internet, whatever it looks like. */
	if ((from->kind == PEER_INTERNET && decided->key.from != observed->from) ||
	    (to->kind == PEER_INTERNET && decided->key.to != observed->to && !named))
		return false;
	if (decided->key.from != observed->from &&
	    (from->kind == PEER_WORKLOAD || from->kind == PEER_HOST ||
		!peer_contains(c->policy, &none, from, &t->src)))
		return false;
	if (decided->key.to != observed->to && !named &&
	    (to->kind == PEER_WORKLOAD || to->kind == PEER_HOST ||
		!peer_contains(c->policy, &none, to, &t->dst)))
		return false;
	return true;
}
