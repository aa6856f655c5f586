/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One reading of the kernel's counters: set by set, the side that is no longer filled first, what
 * each has grown by -> learn_flow(). What is done after it, and of a table that is not as it was
 * left, stands in aggregate.c.
 */
#include "daemon/aggregate_internal.h"
#include "daemon/controller.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/names.h"
#include "daemon/observe.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define MAX_MESSAGES 64
/* A dump walks its set from the beginning for every part; reading takes no more than a twentieth.
 */
#define COST_SHARE 20
/* For what a namespace that is gone did last. Everybody else waits for so long. */
#define LAST_NS (100 * NSEC_PER_MSEC)

static void
read_next(struct aggregate *a)
{
	a->read_done = false;
	aggregate_ask(a, AGG_READ, a->read_side, a->read_set);
}

void
aggregate_read(struct aggregate *a)
{
	a->reading = true;
	a->read_ns = now_mono();
	a->read_side = a->old_there ? 1 - a->side : a->side;
	a->read_set = 0;
	a->fill = 0;
	read_next(a);
}

static void
read_end(struct aggregate *a)
{
	uint64_t now = now_mono();

	a->reading = false;
	a->read_again_ns = now + MIN(COST_SHARE * (now - a->read_ns), 2 * NSEC_PER_SEC);
	a->first_sight = false;
	aggregate_was_read(a);
}

void
aggregate_read_on(struct aggregate *a)
{
	if (a->read_side == a->side)
		a->fill = MAX(a->fill, tally_count(a->tallies[a->side][a->read_set]));
	if (++a->read_set < NFT_SEEN_SETS) {
		read_next(a);
	} else if (a->read_side != a->side) {
		a->read_side = a->side;
		a->read_set = 0;
		read_next(a);
	} else {
		read_end(a);
	}
}

static int
on_entry(void *arg, const struct nft_seen_entry *e)
{
	struct aggregate *a = arg;
	struct instance *i = a->inst;
	const bool conn = nft_seen_is_conn(a->read_set);
	struct flow_event ev = {
		.netns = a->cookie,
		.time_ns = i->ctl->drained_ns,
		.tuple = e->tuple,
		.kind = FLOW_ANSWERED,
		.flags = a->first_sight ? FLOW_F_FROM_DUMP : 0,
	};
	uint64_t growth;
	int r;

	if (addr_is_loopback(&e->tuple.src) || addr_is_loopback(&e->tuple.dst))
		return 0;
	r = tally_read(a->tallies[a->read_side][a->read_set], &e->tuple,
	    conn ? e->packets : e->bytes, &growth);
	if (r < 0 && r != -ERANGE) {
		aggregate_lose(a, 1, strerror(-r));
		return 0;
	}
	if (r == -ERANGE && conn)
		aggregate_lose(a, 1, "somebody has set a counter back");
	if (growth == 0)
		return 0;
	if (!conn) {
		if (!a->first_sight)
			learn_bytes(i->ctl, &ev, growth);
		return 0;
	}
	if (e->tuple.sport != 0 || (e->tuple.proto == IPPROTO_UDP && observe_may_be_midstream(i)))
		ev.flags |= FLOW_F_MIDSTREAM;
	ev.count = (uint32_t)MIN(growth, (uint64_t)UINT32_MAX);
	if (!a->first_sight) {
		a->connections += growth;
		names_on_use(i, &ev.tuple);
	}
	learn_flow(i->ctl, &ev);
	return 0;
}

int
aggregate_read_last(struct aggregate *a, const int fds[static NFT_SEEN_SETS])
{
	uint8_t buf[65536] __attribute__((aligned(8)));
	const uint64_t until = now_mono() + LAST_NS;
	bool done;
	int error, r;

	a->inst->ctl->drained_ns = now_real();
	a->reading = false;
	a->read_side = a->side;
	for (unsigned set = 0; set < NFT_SEEN_SETS; set++) {
		a->read_set = set;
		do {
			r = nft_seen_recv(fds[set], buf, sizeof(buf), MAX_MESSAGES, set, on_entry,
			    a, &a->stats, &done, &error);
			if (r == 0 && !done && now_mono() > until)
				r = -ETIMEDOUT;
		} while (r == 0 && !done);
		if (r == 0 && error != -EINTR)
			r = error;
		if (r < 0)
			return r;
	}
	return 0;
}

void
aggregate_readable(evutil_socket_t fd, short what, void *arg)
{
	struct aggregate *a = arg;
	uint8_t buf[65536] __attribute__((aligned(8)));
	bool done = false;
	int error = 0, r;

	a->inst->ctl->drained_ns = now_real();
	r = nft_seen_recv(
	    fd, buf, sizeof(buf), MAX_MESSAGES, a->read_set, on_entry, a, &a->stats, &done, &error);
	if (r < 0 || !a->reading) {
		if (r < 0)
			aggregate_read_failed(a, r);
		return;
	}
	/* -EINTR: rules of others changed meanwhile, which are none of its elements. */
	if (done && error < 0 && error != -EINTR)
		aggregate_read_failed(a, error);
	else if (done && a->asked == 0)
		aggregate_read_on(a);
	else if (done)
		a->read_done = true;
	api_wake(a->inst->ctl->api);
}
