/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See probing.h. */
#include "daemon/grade.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/probing.h"
#include "daemon/quarantine.h"
#include "daemon/resolve.h"
#include "netlink/rtnl.h"

#include "daemon/controller.h"
#include "daemon/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define PORTS (65536u - PROBE_PORT_MIN)
/* Longer than an unanswered entry of conntrack lives. */
#define REMEMBER_NS (130 * NSEC_PER_SEC)
/* From an event to its being read. */
#define SLACK_NS (100 * NSEC_PER_MSEC)

/* What was sent from a port. */
struct mark {
	uint64_t until_ns;	     /* CLOCK_MONOTONIC */
	uint64_t from;		     /* the namespace's cookie */
	uint64_t began_ns, ended_ns; /* CLOCK_REALTIME */
	size_t n;
	struct p_probe to[];
};

struct probing {
	struct mark *marks[PORTS];
	unsigned next;

	/* The list under way; seq 0: none. */
	uint32_t seq;
	uint16_t sport;
	size_t n;
	probing_fn fn;
	void *arg;
};

int
probing_new(struct probing **ret)
{
	struct probing *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	*ret = p;
	return 0;
}

void
probing_free(struct probing *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < PORTS; i++)
		free(p->marks[i]);
	free(p);
}

bool
probing_is_busy(const struct controller *c)
{
	return c->probing->seq != 0;
}

/*
 * While a list is under way nobody else in its namespace has the port: then it is a probe wherever
 * rules of others have sent it.
 */
static bool
is_under_way(const struct controller *c, const struct mark *m, const struct flow_event *ev)
{
	const struct instance *from = instance_find((struct controller *)c, m->from);

	return ev->time_ns >= m->began_ns && ev->time_ns <= m->ended_ns + SLACK_NS &&
	       from != NULL && instance_has_addr(from, &ev->tuple.src);
}

/*
 * What another sends to the same port there is its own, whatever its source port. Rules of others
 * may have given the probe another source; then it is the host's or nobody's, and seen at an end.
 */
static bool
is_of_sender(const struct controller *c, const struct mark *m, const struct p_probe *to,
    const struct flow_event *ev)
{
	struct controller *ctl = (struct controller *)c;
	const struct instance *from = instance_find(ctl, m->from), *at, *owner;
	bool ambiguous;

	if (from != NULL && instance_has_addr(from, &ev->tuple.src))
		return true;
	owner = addr_map_find(c->addr_map, &ev->tuple.src, &ambiguous);
	if (owner != NULL && !owner->is_host)
		return false;
	at = instance_find(ctl, ev->netns);
	return ev->netns == m->from || (at != NULL && instance_has_addr(at, &to->dst));
}

bool
probing_is_own(const struct controller *c, const struct flow_event *ev)
{
	const struct tuple *t = &ev->tuple;
	const struct mark *m;

	if (c->probing == NULL || t->sport < PROBE_PORT_MIN)
		return false;
	m = c->probing->marks[t->sport - PROBE_PORT_MIN];
	if (m == NULL || now_mono() >= m->until_ns)
		return false;
	/* Only a dump tells of what is over. */
	for (size_t i = 0; i < m->n; i++)
		if (m->to[i].dport == t->dport && m->to[i].proto == t->proto &&
		    addr_eq(&m->to[i].dst, &t->dst) && is_of_sender(c, m, &m->to[i], ev))
			return (ev->flags & FLOW_F_FROM_DUMP) != 0 ||
			       ev->time_ns <= m->ended_ns + LATE_NS;
	return is_under_way(c, m, ev);
}

/* A port that nothing was sent from for a while. */
static int
take_port(struct probing *p, const struct instance *from, const struct probe_want *list, size_t n,
    uint16_t *ret)
{
	unsigned k = p->next;
	struct mark *m;

	if (p->marks[k] != NULL && now_mono() < p->marks[k]->until_ns)
		return -EBUSY;
	m = calloc(1, sizeof(*m) + n * sizeof(m->to[0]));
	if (m == NULL)
		return -ENOMEM;
	m->until_ns = now_mono() + REMEMBER_NS;
	m->from = from->ns.cookie;
	m->began_ns = now_real();
	m->ended_ns = UINT64_MAX - LATE_NS;
	m->n = n;
	for (size_t i = 0; i < n; i++)
		m->to[i] = (struct p_probe){
			.dst = list[i].t.dst, .dport = list[i].t.dport, .proto = list[i].t.proto
		};
	free(p->marks[k]);
	p->marks[k] = m;
	p->next = (k + 1) % PORTS;
	*ret = (uint16_t)(PROBE_PORT_MIN + k);
	return 0;
}

int
probing_ask(struct controller *c, const struct instance *from, const struct probe_want *list,
    size_t n, uint32_t timeout_ms, probing_fn fn, void *arg)
{
	struct probing *p = c->probing;
	struct {
		struct w_probe head;
		struct w_probe_to to[PROBES_MAX];
	} body = { .head = { .cookie = from->ns.cookie, .timeout_ms = timeout_ms } };
	int r;

	if (p->seq != 0)
		return -EBUSY;
	if (!c->warden_ready)
		return -ENOTCONN;
	r = take_port(p, from, list, n, &body.head.sport);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		body.to[i].cookie = list[i].to->ns.cookie;
		body.to[i].to = (struct p_probe){
			.dst = list[i].t.dst, .dport = list[i].t.dport, .proto = list[i].t.proto
		};
	}
	if (++c->next_seq == 0)
		c->next_seq = 1;
	r = role_send(&c->loop, ROLE_WARDEN, MSG_W_PROBE, c->next_seq, &body,
	    sizeof(body.head) + n * sizeof(body.to[0]));
	if (r < 0) {
		p->marks[body.head.sport - PROBE_PORT_MIN]->ended_ns = now_real();
		return r;
	}
	p->seq = c->next_seq;
	p->sport = body.head.sport;
	p->n = n;
	p->fn = fn;
	p->arg = arg;
	return 0;
}

static void
end_list(struct controller *c, int error, const struct p_result *got, size_t n)
{
	struct probing *p = c->probing;

	p->seq = 0;
	p->marks[p->sport - PROBE_PORT_MIN]->ended_ns = now_real();
	p->fn(c, error, got, n, p->arg);
}

void
probing_on_probed(struct controller *c, const struct msg *m)
{
	struct p_result got[PROBES_MAX];
	struct w_probed head;
	size_t n = (m->h.body_len - sizeof(head)) / sizeof(got[0]);

	if (c->probing->seq == 0 || m->h.seq != c->probing->seq)
		return;
	memcpy(&head, m->body, sizeof(head));
	memcpy(got, m->body + sizeof(head), n * sizeof(got[0]));
	if (head.error == 0 && n != c->probing->n)
		head.error = -EBADMSG;
	if (head.error != 0)
		end_list(c, head.error, NULL, 0);
	else
		end_list(c, 0, got, n);
}

void
probing_on_warden_gone(struct controller *c)
{
	if (c->probing != NULL && c->probing->seq != 0)
		end_list(c, -ENOTCONN, NULL, 0);
}

/* Who may be asked */

bool
probing_may_be_target(const struct instance *i)
{
	const unsigned own_addrs =
	    GRADE_NET_ADMIN | GRADE_USER_OWNED | GRADE_USERNS | GRADE_UNKNOWN;

	return i->attach == ATTACH_DONE &&
	       (i->is_host || (i->workload != NULL && (instance_grade_bits(i) & own_addrs) == 0));
}

bool
probing_is_settled(const struct instance *i)
{
	const struct controller *c = i->ctl;

	return i->workload != NULL && i->attach == ATTACH_DONE && i->has_applied && i->match &&
	       i->apply_seq == 0 && i->applied_revision == c->revision &&
	       quarantine_of(i) == NULL && !instance_is_refused(i);
}

bool
probing_is_quiet(const struct controller *c)
{
	return !evtimer_pending(c->ev_reconcile, NULL) && !evtimer_pending(c->ev_first, NULL);
}

static bool
is_usable(const struct instance *i, const struct rtnl_addr *a, uint8_t family)
{
	const struct prefix link_local = { .addr = { .family = 6, .bytes = { 0xfe, 0x80 } },
		.len = 10 };

	return a->addr.family == family && !a->tentative && !addr_is_loopback(&a->addr) &&
	       !prefix_contains(&link_local, &a->addr) && !instance_shares_addr(i, &a->addr);
}

bool
probing_addrs(const struct instance *from, const struct instance *to, uint8_t family,
    struct addr *ret_src, struct addr *ret_dst)
{
	size_t n_from, n_to;
	const struct rtnl_addr *src = instance_addrs(from, &n_from),
			       *dst = instance_addrs(to, &n_to);

	for (size_t i = 0; i < n_from; i++) {
		struct prefix net = prefix_of(&src[i].addr, src[i].prefix_len);

		if (!is_usable(from, &src[i], family))
			continue;
		for (size_t k = 0; k < n_to; k++) {
			if (!is_usable(to, &dst[k], family) ||
			    !prefix_contains(&net, &dst[k].addr) ||
			    addr_eq(&src[i].addr, &dst[k].addr))
				continue;
			*ret_src = src[i].addr;
			*ret_dst = dst[k].addr;
			return true;
		}
	}
	return false;
}

/* What a result says */

enum probe_verdict
probing_judge(const struct p_result *got, bool at_source)
{
	bool arrived = (got->flags & PROBE_F_ARRIVED) != 0;
	bool counted = (got->flags & PROBE_F_COUNTED) != 0;

	/* Rules of others sent it elsewhere, to where it may be allowed. */
	if (got->outcome == PROBE_UNSENT || (got->flags & PROBE_F_TRANSLATED) != 0)
		return PROBE_UNCLEAR;
	if (got->outcome == PROBE_HELD)
		return at_source ? PROBE_DENIED : PROBE_UNCLEAR;
	if (at_source || arrived || got->outcome == PROBE_ANSWERED)
		return PROBE_PASSED;
	/* Our reset looks like that of a closed port, and like a firewall's on the way. */
	return counted ? PROBE_DENIED : PROBE_UNCLEAR;
}

const char *
probing_outcome_name(const struct p_result *got)
{
	static const char *const names[] = { [PROBE_UNSENT] = "unsent",
		[PROBE_HELD] = "held",
		[PROBE_SILENT] = "silent",
		[PROBE_ANSWERED] = "answered",
		[PROBE_RESET] = "reset",
		[PROBE_UNREACHABLE] = "unreachable" };

	if (got->outcome == PROBE_SILENT && (got->flags & PROBE_F_ARRIVED) != 0)
		return "arrived";
	return got->outcome < ARRAY_SIZE(names) && names[got->outcome] != NULL ? names[got->outcome]
									       : "?";
}
