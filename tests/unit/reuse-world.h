/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The world of test-reuse.c: a warden that applies what it is sent, what can be told, and what has
 * to hold after each of it. */
#ifndef NANOSEG_TESTS_REUSE_WORLD_H
#define NANOSEG_TESTS_REUSE_WORLD_H

#include "ctl-fixture.h"
#include "daemon/denial.h"
#include "daemon/enforce.h"
#include "daemon/former.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/observe.h"
#include "daemon/roster.h"
#include "daemon/segment.h"

#define X "10.0.0.2"
#define PEER "10.0.0.1"
#define LIVES "10.0.0.5"
#define P 1
#define A 2
#define B 3
#define ELSEWHERE 4
#define HOST 5
#define L 6
#define N_COOKIES 7
#define MAX_EVENTS 16

/* Of a's time, and of b's. */
#define OLD_TO_X 70
#define OLD_FROM_X 71
#define OLD_REFUSED 72
#define NEW_FROM_X 75
#define NEW_TO_X 76
#define NEW_REFUSED 77
#define NEW_REFUSED_OUT 78

static struct controller *c;
static struct ruleset *kernel[N_COOKIES];
static struct w_applied answers[N_COOKIES];
static size_t n_answers;
static uint64_t number_of[6]; /* p -> a, a -> p, p -> b, b -> p, p -> l, l -> p */
/* Rules of before the daemon was away, and whether it left word who was where. */
static bool of_before[N_COOKIES], was_away, has_places;
static char state_dir[64];
/* What has been told so far. */
static bool a_has_x, b_has_x, b_in_as_namespace, b_is_host;
static const char *b_name;
static char order[512];

static _unused_ void
warden(uint16_t type, uint32_t seq, const void *body, size_t len)
{
	struct w_cookie head;
	struct w_applied *a = &answers[n_answers];

	if (type != MSG_W_NFT_APPLY && type != MSG_W_RELEASE)
		return;
	memcpy(&head, body, sizeof(head));
	assert_true(head.cookie < N_COOKIES);
	ruleset_free(kernel[head.cookie]);
	kernel[head.cookie] = NULL;
	of_before[head.cookie] = false;
	if (type == MSG_W_RELEASE)
		return;
	assert_int_equal(ruleset_decode((const uint8_t *)body + sizeof(head), len - sizeof(head),
			     &kernel[head.cookie]),
	    0);
	*a = (struct w_applied){ .cookie = head.cookie, .match = 1, .owned = 1 };
	assert_int_equal(ruleset_digest(kernel[head.cookie], a->ruleset), 0);
	n_answers++;
	assert_true(n_answers < N_COOKIES);
}

static _unused_ void
reconcile(void)
{
	do {
		n_answers = 0;
		enforce_reconcile_cb(-1, 0, c);
		for (size_t k = 0; k < n_answers; k++)
			enforce_on_applied(c, &answers[k]);
	} while (n_answers > 0);
}

static _unused_ void
announce(uint64_t cookie, uint32_t flags, const char *name, char id)
{
	struct w_netns n = { .cookie = cookie, .ino = 4026530000, .flags = flags };

	snprintf(n.basename, sizeof(n.basename), "%s", name);
	if (id != 0)
		memset(n.container_id, id, 64);
	instance_on_netns(c, &n);
}

static _unused_ void
tell(char id, const char *name)
{
	char full[65] = "", json[256];

	memset(full, id, 64);
	snprintf(json, sizeof(json), "{\"id\":\"%s\",\"name\":\"%s\",\"image\":\"i\"}", full, name);
	instance_on_container(c, json, strlen(json));
}

static _unused_ void
tell_gone(char id)
{
	struct d_id d = { 0 };

	memset(d.id, id, 64);
	instance_on_container_gone(c, &d);
}

static _unused_ void
attach(uint64_t cookie, bool adopted)
{
	struct instance *i = instance_find(c, cookie);

	if (i == NULL || i->addrs != NULL)
		return;
	i->attach = ATTACH_DONE;
	i->attached_ns = now_mono();
	i->attached.adopted = adopted;
	c->n_settling -= i->settling;
	i->settling = false;
	i->addrs = calloc(1, sizeof(*i->addrs));
	assert_non_null(i->addrs);
}

static _unused_ void
give(uint64_t cookie, const char *address)
{
	struct instance *i = instance_find(c, cookie);

	if (i == NULL)
		return;
	assert_non_null(i->addrs);
	i->addrs->ready = true;
	i->addrs->list[i->addrs->n++].addr = ctl_addr(address);
	observe_addrs_changed(i, NULL, 0);
}

static _unused_ void
take(uint64_t cookie)
{
	struct instance *i = instance_find(c, cookie);
	struct addr before;

	if (i == NULL)
		return;
	before = i->addrs->list[0].addr;
	i->addrs->n = 0;
	observe_addrs_changed(i, &before, 1);
}

static _unused_ void
flow(uint64_t netns, uint8_t kind, const char *src, const char *dst, uint16_t port, uint8_t flags)
{
	struct flow_event ev = ctl_event(netns, kind, src, dst, port);

	ev.flags |= flags;
	if (kind == FLOW_DENIED)
		ev.dir = netns == P ? DIR_INGRESS : DIR_EGRESS;
	learn_flow(c, &ev);
}

/* The events. */

static _unused_ void
ev_a_gone(void)
{
	instance_on_netns_gone(c, A);
	a_has_x = false;
}

static _unused_ void
ev_a_loses_x(void)
{
	take(A);
	a_has_x = false;
}

static _unused_ void
ev_a_gone_from_engine(void)
{
	tell_gone('a');
}

static _unused_ void
ev_a_elsewhere(void)
{
	announce(ELSEWHERE, NETNS_F_ENGINE, "", 'c');
	tell('c', "a");
	attach(ELSEWHERE, false);
	give(ELSEWHERE, "10.0.0.9");
}

static _unused_ void
ev_b_file(void)
{
	announce(B, NETNS_F_ENGINE, "1234567890ab", 0);
}

static _unused_ void
ev_b_process(void)
{
	announce(B, NETNS_F_ENGINE, "1234567890ab", 'b');
}

static _unused_ void
ev_b_attached(void)
{
	attach(B, false);
}

static _unused_ void
ev_b_back(void)
{
	attach(B, false);
	give(B, X);
	b_has_x = true;
}

static _unused_ void
ev_b_all_known(void)
{
	ev_b_process();
	ev_b_attached();
}

static _unused_ void
ev_b_has_x(void)
{
	give(B, X);
	b_has_x = true;
}

static _unused_ void
ev_b_in_as_namespace(void)
{
	announce(A, NETNS_F_NAMED, "shared", 'b');
	a_has_x = false;
	b_has_x = b_in_as_namespace = true;
}

static _unused_ void
ev_host_has_x(void)
{
	give(HOST, X);
	b_has_x = true;
}

static _unused_ void
ev_b_from_engine(void)
{
	tell('b', "b");
}

static _unused_ void
ev_old_to_x(void)
{
	flow(P, FLOW_ANSWERED, PEER, X, OLD_TO_X, 0);
}

static _unused_ void
ev_old_from_x(void)
{
	flow(P, FLOW_ANSWERED, X, PEER, OLD_FROM_X, 0);
	flow(P, FLOW_DENIED, X, PEER, OLD_REFUSED, 0);
}

static _unused_ void
ev_old_in_a(void)
{
	flow(A, FLOW_ANSWERED, X, PEER, OLD_FROM_X, 0);
}

static _unused_ void
ev_new_in_p(void)
{
	flow(P, FLOW_ANSWERED, PEER, X, NEW_TO_X, 0);
	flow(P, FLOW_ANSWERED, X, PEER, NEW_FROM_X, 0);
	flow(P, FLOW_DENIED, X, PEER, NEW_REFUSED, 0);
}

static _unused_ void
ev_new_in_b(void)
{
	const uint64_t where = b_in_as_namespace ? A : B;

	flow(where, FLOW_ANSWERED, X, PEER, NEW_FROM_X, 0);
	flow(where, FLOW_DENIED, X, PEER, NEW_REFUSED_OUT, 0);
}

static _unused_ void
ev_policy(void)
{
	ctl_add_edge(c, "p", "a", 100)->state = EDGE_APPROVED;
	policy_free(c->policy);
	assert_int_equal(segment_build_policy(c, false, &c->policy), 0);
	c->revision++;
}

static _unused_ void
ev_time(void)
{
	ctl_wait(c->config->identify_timeout_ns + 2 * NSEC_PER_SEC);
	instance_tick(c);
}

static _unused_ void
ev_p_found(void)
{
	announce(P, NETNS_F_NAMED, "p", 0);
}

static _unused_ void
ev_p_attached(void)
{
	attach(P, true);
	give(P, PEER);
}

/* What the connection table and the sockets of p still have of a's time. */
static _unused_ void
ev_p_dumped(void)
{
	flow(P, FLOW_ANSWERED, PEER, X, OLD_TO_X, FLOW_F_FROM_DUMP);
	flow(P, FLOW_ANSWERED, X, PEER, OLD_FROM_X, FLOW_F_FROM_SOCKET);
}

static _unused_ void
ev_p_back(void)
{
	announce(P, NETNS_F_ENGINE, "", 'p');
}

static _unused_ void
ev_p_from_engine(void)
{
	tell('p', "p");
}

static _unused_ void
ev_p_back_and_told(void)
{
	ev_p_back();
	ev_p_from_engine();
}

static _unused_ void
ev_l_back(void)
{
	announce(L, NETNS_F_ENGINE, "", 'l');
	attach(L, of_before[L]);
	give(L, LIVES);
}

static _unused_ void
ev_l_from_engine(void)
{
	tell('l', "l");
}

static _unused_ void
ev_b_attached_in_as_namespace(void)
{
	attach(A, true);
	give(A, X);
}

static _unused_ void
ev_scanned(void)
{
	c->scanned = true;
}

/* What has to hold. */

static bool
is_workload(peer_id id, const char *name)
{
	const struct peer *p = peer_get(c->peers, id);

	return p->kind == PEER_WORKLOAD && strcmp(p->name, name) == 0;
}

static _unused_ void
check_credit(const struct edge_key *k, const char *what)
{
	bool old = k->port_lo >= OLD_TO_X && k->port_lo <= OLD_REFUSED;
	bool new = k->port_lo >= NEW_FROM_X && k->port_lo <= NEW_REFUSED_OUT;

	if (new && (is_workload(k->from, "a") || is_workload(k->to, "a")))
		fail_msg("%s of b is a's: port %u,%s", what, k->port_lo, order);
	if (!old)
		return;
	if (is_workload(k->from, b_name) || is_workload(k->to, b_name) || k->from == c->peer_host ||
	    k->to == c->peer_host)
		fail_msg("%s of a is b's: port %u,%s", what, k->port_lo, order);
}

/* What was loaded before the daemon was away may name who died meanwhile, until that can be known.
 */
static bool
may_stand(uint64_t cookie)
{
	const struct instance *i = instance_find(c, cookie);

	if (!has_places)
		return !c->caught_up;
	return !c->scanned || i == NULL || i->attach != ATTACH_DONE || i->addrs == NULL ||
	       !i->addrs->ready;
}

static bool
rules_have(uint64_t cookie, const char *address, uint64_t edge)
{
	const struct addr a = ctl_addr(address);

	for (size_t k = 0; kernel[cookie] != NULL && k < kernel[cookie]->n_elems; k++)
		if (kernel[cookie]->elems[k].edge == edge &&
		    addr_eq(&kernel[cookie]->elems[k].lo, &a))
			return true;
	return false;
}

static bool
rules_have_x(uint64_t cookie, uint64_t edge)
{
	return rules_have(cookie, X, edge);
}

/* Who lived on while the daemon was away loses nothing by it. */
static void
check_lives(void)
{
	if (was_away &&
	    (!rules_have(P, LIVES, number_of[4]) || !rules_have(P, LIVES, number_of[5]) ||
		!rules_have(L, PEER, number_of[4]) || !rules_have(L, PEER, number_of[5])))
		fail_msg("an edge of who lives is lost,%s", order);
}

static _unused_ void
check_elem(uint64_t cookie, const struct ruleset_elem *e)
{
	const struct addr x = ctl_addr(X);
	bool of_a = e->edge == number_of[0] || e->edge == number_of[1];
	bool of_b = e->edge == number_of[2] || e->edge == number_of[3];
	bool in_bs = cookie == B || (cookie == A && b_in_as_namespace);

	if (of_before[cookie] && may_stand(cookie))
		return;
	if (in_bs ? of_a : cookie == A && of_b)
		fail_msg("rules of another's edges in namespace %u,%s", (unsigned)cookie, order);
	if (!addr_eq(&e->lo, &x))
		return;
	if (of_a && (!a_has_x || b_has_x))
		fail_msg("X by an edge of a,%s", order);
	if (of_b && (!b_has_x || a_has_x))
		fail_msg("X by an edge of b,%s", order);
}

static _unused_ void
check(void)
{
	const struct denial *d;
	const struct edge *e;
	size_t pos = 0;

	for (uint64_t k = 0; k < N_COOKIES; k++)
		for (size_t n = 0; kernel[k] != NULL && n < kernel[k]->n_elems; n++)
			check_elem(k, &kernel[k]->elems[n]);
	while ((e = edge_table_next(c->edges, &pos)) != NULL)
		check_credit(&e->key, "a connection");
	pos = 0;
	while ((d = denial_next(c->denials, &pos)) != NULL)
		check_credit(&d->key, "a refusal");
	check_lives();
}

#endif
