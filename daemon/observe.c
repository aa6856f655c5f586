/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The conntrack observer: one set of handed sockets per namespace.
 *
 * When events are read is observe_watch.c's to say.
 *
 * An overrun is a loss, counted by the kernel, and answered with a dump, which finds the
 * connections that still live; at most one in five seconds, as whoever can make an overrun can make
 * many. A dump that failed is asked for again, at longer and longer intervals, and until one has
 * come through nobody claims to know what it would have shown (completeness.c).
 */
#include "daemon/aggregate.h"
#include "daemon/alert.h"
#include "daemon/controller.h"
#include "daemon/enforce.h"
#include "daemon/flows.h"
#include "daemon/hostguard.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/log.h"
#include "daemon/names.h"
#include "daemon/observe.h"
#include "daemon/promote.h"
#include "daemon/resolve.h"
#include "netlink/ct.h"
#include "netlink/rtnl.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/netfilter/nf_conntrack_sctp.h>
#include <netinet/in.h>
#include <string.h>

#define DUMP_EVERY_NS (5 * NSEC_PER_SEC) /* after overruns; a dump competes with the events */
#define DUMP_MAX_MESSAGES 8		 /* of some 150 entries, then the events have their turn */
#define DRAIN_MAX_MESSAGES 8192 /* per socket and turn; the API waits no longer than that */
#define DUMP_RETRY_MAX_S 60u
#define OVERRUN_LOG_NS (60 * NSEC_PER_SEC)
/*
 * For so long after an attach UDP may be a conversation from before it, whose server spoke first:
 * as long as conntrack would have remembered it, had it been there. One in a namespace that was
 * found at its beginning is younger.
 */
#define OLD_CONVERSATION_NS (180 * NSEC_PER_SEC)
#define NEW_CONVERSATION_NS (2 * NSEC_PER_SEC)

/*
 * What others see of it: a namespace's own NAT is its own affair. Who dials a virtual address that
 * is translated right here talks to the address behind it, and what a namespace sends on under its
 * own address, for those that have been made inside, is the namespace's.
 */
struct tuple
observe_tuple_of(const struct ct_entry *e)
{
	struct tuple t = e->orig;
	bool ports = !proto_is_icmp(t.proto);

	if ((e->status & CT_SRC_NAT) != 0) {
		t.src = e->reply.dst;
		t.sport = ports ? e->reply.dport : t.sport;
	}
	if ((e->status & CT_DST_NAT) != 0 && ports) {
		t.dst = e->reply.src;
		t.dport = e->reply.sport;
	}
	return t;
}

bool
observe_may_be_midstream(const struct instance *i)
{
	if (i->attached.adopted)
		return false;
	return now_coarse() <
	       i->attached_ns + (i->existing ? OLD_CONVERSATION_NS : NEW_CONVERSATION_NS);
}

/* The end of a handshake of SCTP, whose every step is told of. */
static uint64_t *
handshake_slot(struct instance *i, const struct tuple *t, uint64_t *ret_hash)
{
	struct controller *c = i->ctl;

	*ret_hash = tuple_hash(t, c->seed ^ i->ns.cookie) | 1;
	return &c->sctp_opening[(*ret_hash >> 1) % ARRAY_SIZE(c->sctp_opening)];
}

static bool
had_handshake(struct instance *i, const struct tuple *t)
{
	uint64_t hash, *slot = handshake_slot(i, t, &hash);
	const bool had = *slot == hash;

	if (had)
		*slot = 0;
	return had;
}

/* Could its first packet have been one of its server's? */
static bool
is_midstream(struct instance *i, const struct ct_entry *e, uint8_t flags)
{
	const bool dumped = (flags & FLOW_F_FROM_DUMP) != 0;

	switch (e->orig.proto) {
	case IPPROTO_TCP:
		return dumped || e->tcp_state == 0;
	case IPPROTO_SCTP:
		return dumped || !had_handshake(i, &e->orig);
	case IPPROTO_UDP:
		return dumped || observe_may_be_midstream(i);
	}
	return false;
}

static void
learn_entry(struct instance *i, const struct ct_entry *e, uint8_t flags)
{
	struct flow_event ev = {
		.netns = i->ns.cookie,
		.time_ns = i->ctl->drained_ns,
		.tuple = observe_tuple_of(e),
		.kind = FLOW_ANSWERED,
		.flags = flags,
		.tcp_state = e->tcp_state,
		.count = 1,
	};

	/* Who asks its resolver, or is caught by a proxy of its own, stays in the namespace. */
	if (addr_is_loopback(&ev.tuple.src) || addr_is_loopback(&ev.tuple.dst))
		return;
	names_on_use(i, &ev.tuple);
	if (is_midstream(i, e, flags))
		ev.flags |= FLOW_F_MIDSTREAM;
	learn_flow(i->ctl, &ev);
}

static void
learn_translation(struct instance *host, const struct ct_entry *e)
{
	if ((e->status & (CT_SRC_NAT | CT_DST_NAT)) != 0)
		nat_cache_add(host->ctl->nat, e);
}

int
observe_event(void *arg, const struct ct_entry *e)
{
	struct instance *i = arg;
	uint64_t hash, *slot;

	if (i->is_host) {
		learn_translation(i, e);
		return 0;
	}
	if (e->orig.proto == IPPROTO_SCTP && e->sctp_state == SCTP_CONNTRACK_COOKIE_ECHOED) {
		slot = handshake_slot(i, &e->orig, &hash);
		*slot = hash;
	}
	if (e->msg == CT_MSG_DESTROY || !ct_is_answered(e))
		return 0;
	i->events++;
	learn_entry(i, e, 0);
	return 0;
}

static int
receive_events(struct instance *i)
{
	uint8_t buf[65536] __attribute__((aligned(8)));
	int r;

	i->ctl->drained_ns = now_real();
	r = ct_recv_events(
	    i->ct_fd, buf, sizeof(buf), DRAIN_MAX_MESSAGES, observe_event, i, &i->ct_stats);
	if (r > 0)
		i->ctl->events_read += (unsigned)r;
	return r;
}

static void
dump_again(struct instance *i)
{
	uint64_t now = now_mono();

	if (!i->dump_wanted || i->dump_running ||
	    (i->dumped_ns != 0 && now - i->dumped_ns < DUMP_EVERY_NS) ||
	    (i->dump_failures > 0 && now < i->dump_retry_ns))
		return;
	i->dumped_ns = now;
	observe_dump(i);
}

static void
on_overrun(struct instance *i)
{
	uint64_t now = now_mono();

	/* A container can do this as often as it likes: the count is in the status. */
	if (i->overrun_logged_ns == 0 || now - i->overrun_logged_ns > OVERRUN_LOG_NS) {
		i->overrun_logged_ns = now;
		log_warn("instance %s: the kernel dropped connection events: reading the "
			 "table again",
		    instance_log_id(i));
	}
	i->lost_ns = now;
	complete_on_loss(i, LOSS_EVENTS);
	i->dump_wanted = true;
	dump_again(i);
}

bool
observe_drain(struct instance *i)
{
	int r = receive_events(i);

	if (r == -ENOBUFS) {
		on_overrun(i);
		/* Until its queue is empty the kernel drops everything. */
		r = receive_events(i);
	}
	return r == -ENOBUFS || r >= DRAIN_MAX_MESSAGES / 2;
}

static int
on_dumped(void *arg, const struct ct_entry *e)
{
	struct instance *i = arg;
	struct tuple t;

	if (i->is_host) {
		learn_translation(i, e);
		return 0;
	}
	cut_entry(i, e);
	/* Whoever goes on talking on what is cut uses nothing. */
	if (ct_is_cut(e))
		return 0;
	t = observe_tuple_of(e);
	names_on_use(i, &t);
	if (!ct_is_answered(e) || !i->dump_learns)
		return 0;
	/* The kernel's counters tell of those that it accounts for. */
	if (aggregate_is_on(i) && e->packets[0] != UINT64_MAX)
		return 0;
	/* Its own event may be on its way: that one counts it, and then this one does not. */
	if (i->dump_unread) {
		i->dump_unread = false;
		observe_drain(i);
	}
	learn_entry(i, e, FLOW_F_FROM_DUMP);
	return 0;
}

void
observe_host(struct controller *c)
{
	if (c->host != NULL && c->host->ct_fd >= 0)
		observe_drain(c->host);
}

static void
dump_failed(struct instance *i, int error)
{
	uint64_t wait_s = MIN(1ULL << MIN(i->dump_failures, 6u), (uint64_t)DUMP_RETRY_MAX_S);

	if (i->dump_failures++ == 0)
		log_warn("instance %s: its connection table could not be read, trying again: %s",
		    instance_log_id(i), strerror(-error));
	i->dump_wanted = true;
	i->dump_retry_ns = now_mono() + wait_s * NSEC_PER_SEC;
	complete_on_loss(i, LOSS_DUMP);
}

static void
dump_ended(struct instance *i, int error)
{
	if (!i->dump_running)
		return;
	i->dump_running = false;
	if (error == 0)
		i->dumped_whole_ns = i->dump_began_ns;
	if (i->dump_learns && error == 0)
		i->dump_failures = 0;
	if (i->dump_learns && error < 0)
		dump_failed(i, error);
	cut_on_dump_ended(i, error == 0);
}

static void
dump_readable(evutil_socket_t fd, short what, void *arg)
{
	struct instance *i = arg;
	uint8_t buf[65536] __attribute__((aligned(8)));
	bool done = false;
	int error = 0, r = 1;

	i->ctl->drained_ns = now_real();
	for (int k = 0; k < DUMP_MAX_MESSAGES && r > 0 && !done && !cut_is_busy(i); k++) {
		i->dump_unread = true;
		r = ct_recv(
		    i->dump_fd, buf, sizeof(buf), 1, on_dumped, i, &i->ct_stats, &done, &error);
	}
	if (done || r < 0)
		dump_ended(i, r < 0 ? r : error);
	else if (cut_is_busy(i))
		event_del(i->ev_dump);
	api_wake(i->ctl->api);
}

void
observe_dump_go_on(struct instance *i)
{
	if (i->ev_dump != NULL && !cut_is_busy(i))
		event_add(i->ev_dump, NULL);
}

static void addrs_readable(evutil_socket_t fd, short what, void *arg);

void
observe_addrs_changed(struct instance *i, const struct addr *before, size_t n_before)
{
	size_t n;
	const struct rtnl_addr *a = instance_addrs(i, &n);

	for (size_t k = 0; k < n_before; k++) {
		if (instance_has_addr(i, &before[k]))
			continue;
		instance_lost_addr(i, &before[k]);
		addr_map_retract(i->ctl->addr_map, &before[k], i);
	}
	/* A user gives his namespaces any address: nobody else is called by one of them. */
	for (size_t k = 0; k < n && (i->ns.flags & NETNS_F_USER) == 0; k++)
		addr_map_claim(i->ctl->addr_map, &a[k].addr, i);
	i->local_since = i->ctl->local_generation + 1;
	learn_retry_waiting(i->ctl, false);
	/* Until its guard knows them it drops even its ARP, which is asked again a second later. */
	if (i->guard_asked != NULL && hostguard_update(i))
		i->match = false;
	enforce_schedule(i->ctl);
}

static void
addrs_retract(struct instance *i)
{
	size_t n;
	const struct rtnl_addr *a = instance_addrs(i, &n);

	for (size_t k = 0; k < n; k++)
		addr_map_retract(i->ctl->addr_map, &a[k].addr, i);
}

static void
addrs_readable(evutil_socket_t fd, short what, void *arg)
{
	struct instance *i = arg;
	static struct addr before[RTNL_MAX_ADDRS];
	size_t n_before;
	const struct rtnl_addr *a = instance_addrs(i, &n_before);
	int r;

	n_before = MIN(n_before, (size_t)RTNL_MAX_ADDRS);
	for (size_t k = 0; k < n_before; k++)
		before[k] = a[k].addr;
	r = rtnl_watch_read(i->addrs);
	if (r == 0)
		return;
	if (r < 0) {
		log_warn("instance %s: its addresses cannot be followed any more: %s",
		    instance_log_id(i), strerror(-r));
		event_del(i->ev_rtnl);
		return;
	}
	observe_addrs_changed(i, before, n_before);
}

static void
learn_socket(void *arg, const struct tuple *t)
{
	struct instance *i = arg;
	struct flow_event ev = {
		.netns = i->ns.cookie,
		.time_ns = now_real(),
		.tuple = *t,
		.kind = FLOW_ANSWERED,
		.flags = FLOW_F_MIDSTREAM | FLOW_F_FROM_SOCKET,
		.count = 1,
	};

	learn_flow(i->ctl, &ev);
}

static int
dump_begin(struct instance *i, bool learns)
{
	struct w_cookie body = { .cookie = i->ns.cookie };
	int r;

	if (i->dump_running || i->dump_fd < 0)
		return 0;
	/* What is dumped has to be held against listeners that are as new. */
	observe_forget_listeners(i);
	r = role_send(
	    &i->ctl->loop, ROLE_WARDEN, MSG_W_CT_DUMP, OBSERVE_DUMP_SEQ, &body, sizeof(body));
	if (r < 0)
		return r;
	i->dump_running = true;
	i->dump_began_ns = now_mono();
	i->dump_learns = learns;
	cut_on_dump_begun(i);
	return 0;
}

int
observe_dump(struct instance *i)
{
	int r;

	/* What is lost while one runs may be behind it: another has to follow. */
	i->dump_wanted |= i->dump_running;
	if (i->dump_running)
		return 0;
	r = dump_begin(i, true);
	if (r == 0)
		i->dump_wanted = false;
	return r;
}

void
observe_dump_to_cut(struct instance *i)
{
	dump_begin(i, false);
}

void
observe_tick(struct instance *i)
{
	if (i->ct_fd < 0)
		return;
	if (i->ct_stats.overruns > 0)
		ct_count_lost(i->ct_fd, &i->ct_stats);
	dump_again(i);
	cut_tick(i);
}

void
observe_on_dump_asked(struct controller *c, const struct w_done *d)
{
	struct instance *i = instance_find(c, d->cookie);

	if (i != NULL && d->error < 0)
		dump_ended(i, d->error);
}

static struct event *
watch_fd(struct instance *i, int fd, short what, event_callback_fn fn)
{
	struct event *ev = event_new(i->ctl->loop.base, fd, what, fn, i);

	if (ev == NULL || event_add(ev, NULL) < 0) {
		if (ev != NULL)
			event_free(ev);
		return NULL;
	}
	return ev;
}

int
observe_start(struct instance *i, struct msg *m)
{
	int rtnl_fd, r;

	i->ct_fd = steal_fd(&m->fds[0]);
	i->dump_fd = steal_fd(&m->fds[1]);
	rtnl_fd = steal_fd(&m->fds[2]);
	i->diag_fd = steal_fd(&m->fds[3]);
	r = rtnl_watch_new(rtnl_fd, &i->addrs);
	if (r < 0)
		return r;
	r = observe_watch(i);
	if (r < 0)
		return r;
	i->ev_dump = watch_fd(i, i->dump_fd, EV_READ | EV_PERSIST, dump_readable);
	i->ev_rtnl = watch_fd(i, rtnl_watch_fd(i->addrs), EV_READ | EV_PERSIST, addrs_readable);
	if (i->ev_dump == NULL || i->ev_rtnl == NULL)
		return -ENOMEM;
	/* Most answers are there already: take the addresses now, before the first event. */
	if (rtnl_watch_read(i->addrs) > 0)
		observe_addrs_changed(i, NULL, 0);
	/*
	 * A dump walks the connections of the whole machine. One that had none after its events
	 * were joined has nothing that its events do not tell.
	 */
	if (i->attached.ct_count != 0 || i->attached.ct_max == 0)
		r = observe_dump(i);
	if (!i->is_host)
		observe_established(i, learn_socket, i);
	aggregate_start(i);
	return r;
}

static void
free_event(struct event **ev)
{
	if (*ev != NULL)
		event_free(*ev);
	*ev = NULL;
}

void
observe_stop(struct instance *i)
{
	if (!i->is_host && i->is_watched)
		observe_drain(i);
	cut_stop(i);
	aggregate_stop(i);
	observe_unwatch(i);
	free_event(&i->ev_dump);
	free_event(&i->ev_rtnl);
	addrs_retract(i);
	rtnl_watch_free(i->addrs);
	i->addrs = NULL;
	close_fd(&i->ct_fd);
	close_fd(&i->dump_fd);
	close_fd(&i->diag_fd);
	observe_forget_listeners(i);
	i->dump_running = i->dump_wanted = false;
	i->dump_failures = 0;
}
