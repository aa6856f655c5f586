/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sockets of a namespace, asked of the kernel: who listens, which tells the direction of a
 * connection that was met in its middle, and what is established.
 */
#include "daemon/controller.h"
#include "daemon/instance.h"
#include "daemon/observe.h"
#include "daemon/resolve.h"
#include "netlink/sockdiag.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define LISTENERS_MAX 4096
#define ESTABLISHED_MAX 65536
/* How old an answer may be that confirms the kernel's word, and one that leaves it open. */
#define LISTENERS_KEPT_NS (500 * NSEC_PER_MSEC)
#define LISTENERS_FRESH_NS (50 * NSEC_PER_MSEC)

struct diag_listener {
	struct addr addr; /* any-address: all bytes zero */
	uint16_t port;
};

static struct listeners *
listeners_of(struct instance *i, uint8_t proto)
{
	return &i->listeners[proto == IPPROTO_TCP ? 0 : proto == IPPROTO_UDP ? 1 : 2];
}

static int
on_listener(void *arg, const struct diag_socket *s)
{
	struct listeners *l = arg;
	struct diag_listener *grown;

	if (l->n >= LISTENERS_MAX)
		return 0;
	if ((l->n & (l->n - 1)) == 0) {
		size_t room = MAX(8, l->n * 2);

		grown = realloc(l->list, room * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		l->list = grown;
	}
	l->list[l->n++] = (struct diag_listener){ .addr = s->local, .port = s->local_port };
	return 0;
}

static void
read_listeners(struct instance *i, uint8_t proto, uint64_t fresh_ns)
{
	struct listeners *l = listeners_of(i, proto);
	uint64_t now = now_coarse(), began;

	/* Sixty thousand sockets on one port take .4 s: a container gets no more of us than 5%. */
	if (l->read_ns != 0 && now - l->read_ns < MAX(fresh_ns, 20 * l->cost_ns))
		return;
	l->read_ns = now;
	began = now_mono();
	l->n = 0;
	if (i->diag_fd >= 0)
		diag_listening(i->diag_fd, proto, LISTENERS_MAX * 4, on_listener, l);
	l->cost_ns = now_mono() - began;
}

static bool
is_any(const struct addr *a)
{
	static const uint8_t zero[16];

	return memcmp(a->bytes, zero, sizeof(zero)) == 0;
}

static bool
listens_at(
    struct instance *i, uint8_t proto, const struct addr *a, uint16_t port, uint64_t fresh_ns)
{
	const struct listeners *l = listeners_of(i, proto);

	read_listeners(i, proto, fresh_ns);
	for (size_t k = 0; k < l->n; k++) {
		const struct diag_listener *d = &l->list[k];

		if (d->port == port && (is_any(&d->addr) || addr_eq(&d->addr, a)))
			return true;
	}
	return false;
}

/* The other end, if we can ask it. */
static struct instance *
instance_at(struct controller *c, const struct addr *a)
{
	bool ambiguous;
	struct instance *i = addr_map_find(c->addr_map, a, &ambiguous);

	return i != NULL && i->diag_fd >= 0 ? i : NULL;
}

/*
 * Who is the server of a connection, told from its local end. A server may have closed its listener
 * meanwhile, so an end that does not listen is taken for the client only if the other one listens
 * or cannot be asked.
 *
 * A client's datagram socket looks like a server's if it has not named its peer: where it could be
 * either, it is neither. Of SCTP a silence means nothing: the kernel may show none of its sockets,
 * and an association may be of a program alone.
 */
enum server { SERVER_UNKNOWN, SERVER_LOCAL, SERVER_REMOTE };

static enum server
find_server(struct instance *i, const struct tuple *out, uint64_t fresh_ns)
{
	const bool local = listens_at(i, out->proto, &out->src, out->sport, fresh_ns);
	struct instance *other;
	bool remote;

	if (local && out->proto != IPPROTO_UDP)
		return SERVER_LOCAL;
	other = instance_at(i->ctl, &out->dst);
	if (other == NULL)
		return local || out->proto == IPPROTO_SCTP ? SERVER_UNKNOWN : SERVER_REMOTE;
	remote = listens_at(other, out->proto, &out->dst, out->dport, fresh_ns);
	if (local == remote)
		return SERVER_UNKNOWN;
	return local ? SERVER_LOCAL : SERVER_REMOTE;
}

/*
 * Settles the direction of a connection picked up in its middle. True if the sockets decided it; *t
 * may then be reversed.
 */
bool
observe_orient(struct instance *i, struct tuple *t)
{
	bool src_local = instance_has_addr(i, &t->src), dst_local = instance_has_addr(i, &t->dst);
	struct tuple out = src_local ? *t : tuple_reverse(t); /* from the local end */
	enum server server;

	/* What the kernel counts may lack the client's port. */
	if (src_local == dst_local || !proto_has_port(t->proto) || t->sport == 0 || i->diag_fd < 0)
		return false;
	server = find_server(i, &out, LISTENERS_KEPT_NS);
	if (server == SERVER_UNKNOWN)
		server = find_server(i, &out, LISTENERS_FRESH_NS);
	/* Against the kernel's word only by what is known now: a server may be as new as that. */
	if (server == (src_local ? SERVER_LOCAL : SERVER_REMOTE))
		server = find_server(i, &out, 0);
	if (server != SERVER_UNKNOWN)
		*t = server == SERVER_LOCAL ? tuple_reverse(&out) : out;
	return server != SERVER_UNKNOWN;
}

void
observe_forget_listeners(struct instance *i)
{
	for (size_t k = 0; k < ARRAY_SIZE(i->listeners); k++) {
		struct listeners *l = &i->listeners[k];

		free(l->list);
		*l = (struct listeners){ .cost_ns = l->cost_ns };
	}
}

/* Collected first: to orient one asks for the listeners on the same socket. */
struct established {
	struct tuple *list;
	size_t n;
};

static int
on_established(void *arg, const struct diag_socket *s)
{
	struct established *e = arg;
	struct tuple *grown, *t;

	if (s->remote.family == 0 || addr_is_loopback(&s->local) || addr_is_loopback(&s->remote))
		return 0;
	if ((e->n & (e->n - 1)) == 0) {
		size_t room = MAX(16, e->n * 2);

		grown = realloc(e->list, room * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		e->list = grown;
	}
	t = &e->list[e->n++];
	memset(t, 0, sizeof(*t));
	t->proto = s->proto;
	t->src = s->local;
	t->sport = s->local_port;
	t->dst = s->remote;
	t->dport = s->remote_port;
	return 0;
}

int
observe_established(struct instance *i, observe_socket_fn fn, void *arg)
{
	struct established e = { 0 };
	int r;

	if (i->diag_fd < 0)
		return -ENOTCONN;
	r = diag_established(i->diag_fd, ESTABLISHED_MAX, on_established, &e);
	/* As with a dump: a connection's own event goes first. */
	observe_drain(i);
	observe_forget_listeners(i);
	for (size_t k = 0; k < e.n; k++)
		fn(arg, &e.list[k]);
	free(e.list);
	return r;
}
