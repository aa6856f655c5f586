/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A wider edge in the place of the one that was seen: other ports, another peer than the group's
 * workload. It is added to the policy in force as `policy import` adds one, onto the revision that
 * was looked at.
 */
#include "cli/policy.h"
#include "cli/review.h"
#include "cli/show.h"

#include "rules/policy_merge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static bool
parse_port(const char *text, size_t len, uint16_t *ret)
{
	char digits[8];
	unsigned long v;

	if (len == 0 || len > 5)
		return false;
	memcpy(digits, text, len);
	digits[len] = '\0';
	if (strspn(digits, "0123456789") != len)
		return false;
	v = strtoul(digits, NULL, 10);
	*ret = (uint16_t)v;
	return v >= 1 && v <= 65535;
}

static bool
ask_ports(struct policy_edge *e)
{
	char prompt[64], buf[ASK_LEN], range[24];
	const char *dash;
	uint16_t lo, hi;

	if (proto_is_icmp(e->proto))
		return true;
	snprintf(range, sizeof(range), e->port_lo == e->port_hi ? "%u" : "%u-%u", e->port_lo,
	    e->port_hi);
	snprintf(prompt, sizeof(prompt), "  Port or range (Enter: %s): ", range);
	for (;;) {
		if (!ask_line(prompt, buf))
			return false;
		if (buf[0] == '\0')
			return true;
		dash = strchr(buf, '-');
		if (parse_port(buf, dash != NULL ? (size_t)(dash - buf) : strlen(buf), &lo) &&
		    parse_port(dash != NULL ? dash + 1 : buf, strlen(dash != NULL ? dash + 1 : buf),
			&hi) &&
		    lo <= e->port_lo && hi >= e->port_hi)
			break;
		printf("Expected a port or a range such as 8000-8010 that has %s in it.\n", range);
	}
	e->port_lo = lo;
	e->port_hi = hi;
	return true;
}

/* name holds the new peer's name. */
static bool
ask_peer(struct peer *p, bool is_source, char name[static PEER_STRLEN])
{
	char text[PEER_STRLEN], prompt[160], buf[ASK_LEN];
	_cleanup_free_ char *safe = text_safe(show_peer(peer_format(p, text)));
	struct peer peer;

	snprintf(prompt, sizeof(prompt),
	    "  %s (Enter: %.90s): ", is_source ? "Source" : "Destination",
	    safe != NULL ? safe : "?");
	for (;;) {
		if (!ask_line(prompt, buf))
			return false;
		if (buf[0] == '\0')
			return true;
		if (strlen(buf) < PEER_STRLEN && text_is_utf8(buf, strlen(buf)) &&
		    peer_parse(buf, name, &peer) == 0 &&
		    (peer.kind == PEER_CIDR || peer.kind == PEER_ADDR ||
			peer.kind == PEER_INTERNET))
			break;
		puts("Expected a prefix such as 10.1.0.0/16, an address, or internet.");
	}
	*p = peer;
	return true;
}

static bool
confirm(const struct policy_edge *e, bool *ret)
{
	_cleanup_free_ char *text = policy_edge_text(e);
	char answer;

	printf("  New edge: %s\n  It admits connections that were never seen.\n",
	    text != NULL ? text : "?");
	if (!ask_letter("  Approve this wider edge [y,n]? ", "yn", &answer))
		return false;
	*ret = answer == 'y';
	return true;
}

static int
add_edge(struct review *v, const struct policy *ours, struct policy_edge *e,
    const struct review_why *w, bool *ret_done)
{
	_cleanup_(policy_merge_freep) struct policy_merge *m = NULL;
	_cleanup_(policy_freep) struct policy *decided = NULL;
	/* Its networks are ours: a network's name means the same. */
	const struct policy one = {
		.edges = e, .n_edges = 1, .networks = ours->networks, .n_networks = ours->n_networks
	};
	json_t *answer = NULL;
	int r = policy_get(v->cli, NULL, false, &decided);

	if (r != CLI_OK)
		return r;
	e->state = EDGE_APPROVED;
	e->reason = (char *)w->reason;
	e->ticket = w->ticket[0] != '\0' ? (char *)w->ticket : NULL;
	if (w->expires_s != 0)
		e->expires_ns = ((uint64_t)time(NULL) + w->expires_s) * NSEC_PER_SEC;
	edge_id_format(edge_key_number(&e->from, &e->to, e->proto, e->port_lo, e->port_hi), e->id);
	if (policy_merge_new(decided, &one, false, &m) < 0)
		return cli_no_memory();
	if (m->n_conflicts > 0 || m->n_added == 0) {
		puts(m->n_conflicts > 0 ? "  This edge is decided otherwise already."
					: "  This edge is approved already.");
		*ret_done = m->n_conflicts == 0;
		return CLI_OK;
	}
	r = policy_put(v->cli, &m->policy, w->reason, &answer);
	if (r != CLI_OK)
		return r;
	printf("  approved: revision %" PRId64 "\n", show_int(answer, "revision", 0));
	json_decref(answer);
	*ret_done = true;
	return CLI_OK;
}

int
review_edit(struct review *v, const struct review_edge *e, struct review_why *w, bool *ret_done)
{
	_cleanup_(policy_freep) struct policy *ours = NULL;
	struct policy_edge *seen = NULL, wider;
	bool is_source = e->other == e->from, agreed = false;
	char name[PEER_STRLEN];
	int r = policy_get(v->cli, NULL, true, &ours);

	for (size_t i = 0; r == CLI_OK && i < ours->n_edges; i++)
		if (strcmp(ours->edges[i].id, e->id) == 0)
			seen = &ours->edges[i];
	if (r != CLI_OK)
		return r;
	if (seen == NULL || seen->state != EDGE_PENDING) {
		puts("  It is not pending any more.");
		return CLI_OK;
	}
	wider = *seen;
	if (!ask_ports(&wider) || !ask_peer(is_source ? &wider.from : &wider.to, is_source, name))
		return CLI_OK;
	if (wider.port_lo == seen->port_lo && wider.port_hi == seen->port_hi &&
	    peer_eq(&wider.from, &seen->from) && peer_eq(&wider.to, &seen->to)) {
		puts("  Nothing was changed: y approves it as it is.");
		return CLI_OK;
	}
	if (!confirm(&wider, &agreed) || !agreed || !ask_why(v, "approve", w))
		return CLI_OK;
	return add_edge(v, ours, &wider, w, ret_done);
}
