/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose direction an answered connection has, where conntrack may have met it in its middle. */
#include "ctl-fixture.h"
#include "daemon/observe.h"
#include "netlink/sockdiag.h"

#include <linux/netfilter/nf_conntrack_sctp.h>
#include <linux/netfilter/nf_conntrack_tcp.h>

#define A "10.0.0.1"
#define B "10.0.0.2"
#define OUTSIDE "198.51.100.9"
#define CLIENT 40000

int __wrap_diag_listening(int sock, uint8_t proto, size_t max, diag_socket_fn fn, void *arg);

/* Of the namespace whose socket has that number. */
static struct {
	int sock;
	uint8_t proto;
	const char *addr;
	uint16_t port;
} bound[4];
static size_t n_bound, asked;

int
__wrap_diag_listening(int sock, uint8_t proto, size_t max, diag_socket_fn fn, void *arg)
{
	asked++;
	for (size_t k = 0; k < n_bound; k++) {
		struct diag_socket s = { .proto = bound[k].proto,
			.listening = true,
			.local = ctl_addr(bound[k].addr),
			.local_port = bound[k].port };
		int r = bound[k].sock == sock && bound[k].proto == proto ? fn(arg, &s) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

static void
bind_at(int sock, uint8_t proto, const char *addr, uint16_t port)
{
	bound[n_bound].sock = sock;
	bound[n_bound].proto = proto;
	bound[n_bound].addr = addr;
	bound[n_bound++].port = port;
}

static struct instance *
found(struct controller *c, uint64_t cookie, const char *name, const char *addr)
{
	struct instance *i = ctl_instance(c, cookie, name, addr);

	i->existing = true;
	i->attached_ns = now_mono();
	/* No descriptor, but one that could be asked. */
	i->diag_fd = 1000 + (int)cookie;
	return i;
}

static int
setup(void **state)
{
	struct controller *c = ctl_new(NULL);

	n_bound = 0;
	found(c, 1, "a", A);
	found(c, 2, "b", B);
	*state = c;
	return 0;
}

static int
teardown(void **state)
{
	struct controller *c = *state;

	for (struct instance *i = c->instances; i != NULL; i = i->next)
		i->diag_fd = -1;
	ctl_free(c);
	return 0;
}

/* As both namespaces are told of it. */
static void
see(struct controller *c, uint8_t proto, const char *src, uint16_t sport, const char *dst,
    uint16_t dport, uint8_t state)
{
	struct ct_entry e = { .msg = CT_MSG_UPDATE,
		.orig = { .src = ctl_addr(src),
		    .dst = ctl_addr(dst),
		    .sport = sport,
		    .dport = dport,
		    .proto = proto },
		.status = CT_SEEN_REPLY | (proto == IPPROTO_TCP ? CT_ASSURED : 0),
		.tcp_state = proto == IPPROTO_TCP ? state : 0,
		.sctp_state = proto == IPPROTO_SCTP ? state : 0 };

	e.reply = tuple_reverse(&e.orig);
	c->drained_ns = fake_now;
	observe_event(instance_find(c, 1), &e);
	observe_event(instance_find(c, 2), &e);
}

static const struct edge *
only_edge(struct controller *c, const char *from, const char *to, uint16_t port)
{
	size_t pos = 0;
	const struct edge *e = edge_table_next(c->edges, &pos);
	char text[PEER_STRLEN];

	assert_int_equal(edge_table_count(c->edges), 1);
	peer_format(peer_get(c->peers, e->key.from), text);
	assert_string_equal(text, from);
	peer_format(peer_get(c->peers, e->key.to), text);
	assert_string_equal(text, to);
	assert_int_equal(e->key.port_lo, port);
	return e;
}

#define WA "workload:a"
#define WB "workload:b"

static void
a_server_that_spoke_first_is_still_the_server(void **state)
{
	struct controller *c = *state;

	bind_at(1001, IPPROTO_UDP, "0.0.0.0", 53);
	see(c, IPPROTO_UDP, A, 53, B, CLIENT, 0);
	assert_int_equal(only_edge(c, WB, WA, 53)->flags, 0);
}

/* The event of one that was met in its middle has no state: it has not changed. */
static void
of_tcp_an_event_without_a_handshake_is_of_its_middle(void **state)
{
	struct controller *c = *state;

	bind_at(1001, IPPROTO_TCP, "0.0.0.0", 80);
	see(c, IPPROTO_TCP, A, 80, B, CLIENT, 0);
	assert_int_equal(only_edge(c, WB, WA, 80)->flags, 0);
}

static void
with_one_it_is_as_it_says(void **state)
{
	struct controller *c = *state;
	size_t before = asked;

	bind_at(1001, IPPROTO_TCP, "0.0.0.0", 80);
	see(c, IPPROTO_TCP, A, 80, B, CLIENT, TCP_CONNTRACK_ESTABLISHED);
	assert_int_equal(only_edge(c, WA, WB, CLIENT)->flags, 0);
	assert_int_equal(asked, before);
}

static void
so_is_one_at_the_other_end(void **state)
{
	struct controller *c = *state;

	bind_at(1002, IPPROTO_UDP, B, 53);
	see(c, IPPROTO_UDP, B, 53, A, CLIENT, 0);
	assert_int_equal(only_edge(c, WA, WB, 53)->flags, 0);
}

static void
a_client_of_somebody_elsewhere_has_named_its_peer(void **state)
{
	struct controller *c = *state;

	see(c, IPPROTO_UDP, OUTSIDE, 443, A, CLIENT, 0);
	assert_int_equal(only_edge(c, WA, "internet", 443)->flags & EDGE_FLAG_MIDSTREAM, 0);
}

static void
where_both_could_be_the_server_it_is_flagged_until_proven(void **state)
{
	struct controller *c = *state;
	const struct edge *e;

	bind_at(1001, IPPROTO_UDP, "0.0.0.0", CLIENT);
	bind_at(1002, IPPROTO_UDP, "0.0.0.0", 53);
	see(c, IPPROTO_UDP, A, CLIENT, B, 53, 0);
	e = only_edge(c, WA, WB, 53);
	assert_int_equal(e->flags, EDGE_FLAG_MIDSTREAM);
	/* What begins so long after conntrack is there begins with its client. */
	ctl_wait(181 * NSEC_PER_SEC);
	see(c, IPPROTO_UDP, A, CLIENT, B, 53, 0);
	assert_int_equal(e->flags, 0);
	assert_int_equal(edge_connections(e), 2);
}

static void
what_cannot_be_asked_is_flagged(void **state)
{
	struct controller *c = *state;

	/* Its own server, or a client that has not named its peer? */
	bind_at(1001, IPPROTO_UDP, "0.0.0.0", CLIENT);
	see(c, IPPROTO_UDP, OUTSIDE, 443, A, CLIENT, 0);
	assert_int_equal(
	    only_edge(c, "internet", WA, CLIENT)->flags & EDGE_FLAG_MIDSTREAM, EDGE_FLAG_MIDSTREAM);
}

static void
where_conntrack_was_before_nothing_is_in_doubt(void **state)
{
	struct controller *c = *state;

	for (struct instance *i = c->instances; i != NULL; i = i->next)
		i->attached.adopted = 1;
	bind_at(1001, IPPROTO_UDP, "0.0.0.0", 53);
	see(c, IPPROTO_UDP, A, 53, B, CLIENT, 0);
	assert_int_equal(only_edge(c, WA, WB, CLIENT)->flags, 0);
}

static void
an_association_is_proven_by_its_handshake(void **state)
{
	struct controller *c = *state;

	see(c, IPPROTO_SCTP, A, CLIENT, B, 7000, SCTP_CONNTRACK_COOKIE_ECHOED);
	assert_int_equal(edge_table_count(c->edges), 0);
	see(c, IPPROTO_SCTP, A, CLIENT, B, 7000, SCTP_CONNTRACK_ESTABLISHED);
	assert_int_equal(only_edge(c, WA, WB, 7000)->flags, 0);
}

static void
a_heartbeat_proves_nothing(void **state)
{
	struct controller *c = *state;

	see(c, IPPROTO_SCTP, A, CLIENT, B, 7000, SCTP_CONNTRACK_ESTABLISHED);
	assert_int_equal(only_edge(c, WA, WB, 7000)->flags, EDGE_FLAG_MIDSTREAM);
}

static void
but_who_listens_does(void **state)
{
	struct controller *c = *state;

	bind_at(1001, IPPROTO_SCTP, "0.0.0.0", 7000);
	see(c, IPPROTO_SCTP, A, 7000, B, CLIENT, SCTP_CONNTRACK_ESTABLISHED);
	assert_int_equal(only_edge(c, WB, WA, 7000)->flags, 0);
}

static bool
orient(struct controller *c, uint16_t sport, uint16_t dport)
{
	struct tuple t = { .src = ctl_addr(A),
		.dst = ctl_addr(B),
		.sport = sport,
		.dport = dport,
		.proto = IPPROTO_UDP };

	return observe_orient(instance_find(c, 1), &t);
}

static void
a_server_is_as_new_as_what_is_asked_of_it(void **state)
{
	struct controller *c = *state;
	size_t before;

	bind_at(1001, IPPROTO_UDP, "0.0.0.0", CLIENT);
	assert_true(orient(c, CLIENT, 9));
	bind_at(1002, IPPROTO_UDP, "0.0.0.0", 53);
	ctl_wait(NSEC_PER_MSEC);
	assert_false(orient(c, CLIENT, 53));
	/* Nobody is asked again while they say what the kernel says. */
	before = asked;
	assert_true(orient(c, CLIENT + 1, 53));
	assert_int_equal(asked, before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(a_server_that_spoke_first_is_still_the_server),
		T(of_tcp_an_event_without_a_handshake_is_of_its_middle),
		T(with_one_it_is_as_it_says),
		T(so_is_one_at_the_other_end),
		T(a_client_of_somebody_elsewhere_has_named_its_peer),
		T(where_both_could_be_the_server_it_is_flagged_until_proven),
		T(what_cannot_be_asked_is_flagged),
		T(where_conntrack_was_before_nothing_is_in_doubt),
		T(an_association_is_proven_by_its_handshake),
		T(a_heartbeat_proves_nothing),
		T(but_who_listens_does),
		T(a_server_is_as_new_as_what_is_asked_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
