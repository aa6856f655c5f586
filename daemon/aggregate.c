/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The other observer: in a busy namespace the kernel counts the connections (netlink/nft_seen.h),
 * and its counters are read once a second, in place of an event for each.
 *
 * Which of the two tells of a connection is fixed when it begins, so that a change from one to the
 * other neither loses nor doubles any: the event socket stays open and has nothing to tell of what
 * the kernel counts, and after the change back counting goes on for as long as something that began
 * before it can still be answered.
 *
 * What the counters had when they were last read outlives the instance: a new warden announces all
 * namespaces anew, and their tables stand. Without it (a new controller) the first reading shows
 * what may have been credited before, and creates only what is not there yet, as a dump does.
 *
 * Counters only grow. A set that fills is exchanged for an empty one before it is full; what found
 * no room, a counter that went back and a table that is gone are losses.
 */
#include "daemon/aggregate.h"
#include "daemon/controller.h"
#include "daemon/grade.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/log.h"
#include "daemon/names.h"
#include "daemon/promote.h"
#include "netlink/ct.h"
#include "netlink/nft_seen.h"
#include "rules/tally.h"

#include <errno.h>
#include <string.h>

/* When it is worth it: connections a second, and for how many of them. */
#define BUSY_RATE 2000u
#define BUSY_S 5u
#define QUIET_RATE 500u
#define QUIET_S 60u
/* The rules are hooked when what began as they were loaded is settled. */
#define SETTLE_NS (2 * NSEC_PER_SEC)
/* Longer than conntrack waits for any answer, nf_conntrack_tcp_timeout_syn_sent being 120 s. */
#define DRAIN_NS (130 * NSEC_PER_SEC)
#define BARRED_NS (3600 * NSEC_PER_SEC)
#define ANSWER_NS (10 * NSEC_PER_SEC)
#define KEPT_NS (60 * NSEC_PER_SEC)
/* Sets are exchanged when so full, or, with more than a few in them, so old. */
#define FULL (NFT_SEEN_SIZE / 2)
#define OLD_NS (60 * NSEC_PER_SEC)
#define OLD_MIN 1024u
#define MAX_MESSAGES 64
/* A dump walks its set from the beginning for every part; reading takes no more than a twentieth.
 */
#define COST_SHARE 20

enum state {
	STATE_CLOSED, /* no socket */
	STATE_OPEN,   /* and no table */
	STATE_PREPARED,
	STATE_ON,
	STATE_DRAINING,
};

struct aggregate {
	struct aggregate *next; /* of controller.aggregates */
	uint64_t cookie;
	struct instance *inst; /* NULL: not attached; then since: */
	uint64_t left_ns;

	enum state state;
	uint64_t state_ns; /* CLOCK_MONOTONIC, since when */
	uint32_t asked;	   /* the verb that has no answer yet, 0: none */
	uint64_t asked_ns;
	int fd;
	struct event *ev;

	unsigned side;	    /* the one that is being filled */
	bool old_there;	    /* the other one has not been dropped */
	bool first_sight;   /* what is read now may have been credited before */
	uint64_t filled_ns; /* since when it is */
	struct tally *tallies[NFT_SEEN_SIDES][NFT_SEEN_SETS];

	bool reading;
	bool read_done; /* its part has ended before the warden said that it was asked for */
	unsigned read_side;
	unsigned read_set;
	uint64_t read_ns, cost_ns, read_again_ns;
	size_t fill; /* of the fullest set of the side that is being filled */
	struct nft_seen_stats stats;

	uint64_t connections, connections_before; /* counted here in all; at the last tick */
	uint64_t events;			  /* of the instance, at the last tick */
	unsigned busy_s, quiet_s;
	uint64_t barred_ns; /* until then */
	uint64_t missed;
	bool loss_logged;
};

static uint8_t seen_buf[65536] __attribute__((aligned(8)));

static void
set_state(struct aggregate *a, enum state s)
{
	a->state = s;
	a->state_ns = now_mono();
}

static void
forget_side(struct aggregate *a, unsigned side)
{
	for (unsigned set = 0; set < NFT_SEEN_SETS; set++)
		tally_clear(a->tallies[side][set]);
}

static void
free_aggregate(struct aggregate *a)
{
	for (unsigned side = 0; side < NFT_SEEN_SIDES; side++)
		for (unsigned set = 0; set < NFT_SEEN_SETS; set++)
			tally_free(a->tallies[side][set]);
	if (a->ev != NULL)
		event_free(a->ev);
	close_fd(&a->fd);
	free(a);
}

static struct aggregate *
aggregate_new(uint64_t cookie, uint64_t seed)
{
	struct aggregate *a = calloc(1, sizeof(*a));
	int r = 0;

	if (a == NULL)
		return NULL;
	a->cookie = cookie;
	a->fd = -1;
	a->first_sight = true;
	for (unsigned side = 0; side < NFT_SEEN_SIDES; side++)
		for (unsigned set = 0; set < NFT_SEEN_SETS && r == 0; set++)
			r = tally_new(NFT_SEEN_SIZE, seed, &a->tallies[side][set]);
	if (r < 0) {
		free_aggregate(a);
		return NULL;
	}
	return a;
}

/* What stands in the kernel stays there: it is to be opened again, wanted or not. */
static void
close_socket(struct aggregate *a)
{
	if (a->state >= STATE_PREPARED && a->inst != NULL)
		a->inst->attached.aggregates = 1;
	if (a->ev != NULL)
		event_free(a->ev);
	a->ev = NULL;
	close_fd(&a->fd);
	a->asked = 0;
	a->reading = false;
	set_state(a, STATE_CLOSED);
}

static void
lose(struct aggregate *a, uint64_t n, const char *why)
{
	a->inst->ct_stats.lost += n;
	a->inst->lost_ns = now_mono();
	complete_on_loss(a->inst);
	if (!a->loss_logged)
		log_warn("instance %s: connections counted by the kernel are lost: %s",
		    instance_log_id(a->inst), why);
	a->loss_logged = true;
}

static void
ask(struct aggregate *a, enum agg_verb verb, unsigned side, unsigned set)
{
	const struct w_aggregate body = {
		.cookie = a->cookie,
		.verb = verb,
		.side = side,
		.set = set,
	};

	if (role_send(&a->inst->ctl->loop, ROLE_WARDEN, MSG_W_AGGREGATE, 0, &body, sizeof(body)) <
	    0)
		return;
	a->asked = verb;
	a->asked_ns = now_mono();
}

/* Is it worth it, and allowed? */
static bool
is_wanted(const struct aggregate *a, uint64_t now)
{
	const struct config *config = a->inst->ctl->config;

	if (config->aggregation == AGGREGATION_OFF || now < a->barred_ns)
		return false;
	if (config->aggregation == AGGREGATION_ON)
		return true;
	/* Root inside can set counters back, but cannot take back an event. */
	if ((instance_grade_bits(a->inst) & GRADE_NET_ADMIN) != 0)
		return false;
	return a->state >= STATE_ON ? a->quiet_s < QUIET_S : a->busy_s >= BUSY_S;
}

static void
bar(struct aggregate *a)
{
	a->barred_ns = now_mono() + BARRED_NS;
	a->busy_s = 0;
}

/* Reading */

static void
read_next(struct aggregate *a)
{
	a->read_done = false;
	ask(a, AGG_READ, a->read_side, a->read_set);
}

static void
read_begin(struct aggregate *a)
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
	a->cost_ns = now - a->read_ns;
	a->read_again_ns = now + MIN(COST_SHARE * a->cost_ns, 2 * NSEC_PER_SEC);
	a->first_sight = false;
	if (a->old_there)
		ask(a, AGG_DROP, 1 - a->side, 0);
	else if (a->state == STATE_DRAINING && now - a->state_ns >= DRAIN_NS)
		ask(a, AGG_OFF, 0, 0);
	else if (a->fill > FULL || (a->fill > OLD_MIN && now - a->filled_ns >= OLD_NS))
		ask(a, AGG_ROTATE, 1 - a->side, 0);
}

static void
read_went_on(struct aggregate *a)
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
	if (r == -ERANGE && conn)
		lose(a, 1, "somebody has set a counter back");
	else if (r < 0 && r != -ERANGE)
		lose(a, 1, strerror(-r));
	if ((r < 0 && r != -ERANGE) || growth == 0)
		return 0;
	if (!conn) {
		if (!a->first_sight)
			learn_bytes(i->ctl, &ev, growth);
		return 0;
	}
	if (e->tuple.sport != 0)
		ev.flags |= FLOW_F_MIDSTREAM;
	ev.count = (uint32_t)MIN(growth, (uint64_t)UINT32_MAX);
	a->connections += a->first_sight ? 0 : growth;
	if (!a->first_sight)
		names_on_use(i, &ev.tuple);
	learn_flow(i->ctl, &ev);
	return 0;
}

/* Its table is not as we left it: events tell again, of what is not marked. */
static void
table_lost(struct aggregate *a, int error)
{
	lose(a, 1, error == -ENOENT ? "their table is gone" : strerror(-error));
	a->reading = false;
	forget_side(a, 0);
	forget_side(a, 1);
	if (a->inst->ctl->config->aggregation == AGGREGATION_AUTO)
		bar(a);
	a->inst->dump_wanted = true;
	ask(a, AGG_OFF, 0, 0);
}

static void
seen_readable(evutil_socket_t fd, short what, void *arg)
{
	struct aggregate *a = arg;
	bool done = false;
	int error = 0, r;

	a->inst->ctl->drained_ns = now_real();
	r = nft_seen_recv(fd, seen_buf, sizeof(seen_buf), MAX_MESSAGES, a->read_set, on_entry, a,
	    &a->stats, &done, &error);
	if (r < 0 || !a->reading) {
		if (r < 0) {
			lose(a, 1, strerror(-r));
			close_socket(a);
		}
		return;
	}
	/* -EINTR: rules of others changed meanwhile, which are none of its elements. */
	if (done && error < 0 && error != -EINTR)
		table_lost(a, error);
	else if (done && a->asked == 0)
		read_went_on(a);
	else if (done)
		a->read_done = true;
	api_wake(a->inst->ctl->api);
}

/* Answers */

static void
on_open(struct aggregate *a, const struct w_aggregated *w, struct msg *m)
{
	const uint32_t sides = AGG_F_SIDE(0) | AGG_F_SIDE(1);

	if (m->n_fds != 1)
		return;
	a->fd = steal_fd(&m->fds[0]);
	a->ev = event_new(a->inst->ctl->loop.base, a->fd, EV_READ | EV_PERSIST, seen_readable, a);
	if (a->ev == NULL || event_add(a->ev, NULL) < 0) {
		close_socket(a);
		return;
	}
	set_state(a, STATE_OPEN);
	for (unsigned side = 0; side < NFT_SEEN_SIDES; side++)
		if ((w->flags & AGG_F_SIDE(side)) == 0)
			forget_side(a, side);
	if ((w->flags & AGG_F_PRESENT) == 0) {
		a->first_sight = a->old_there = false;
		return;
	}
	/* What was being made when its warden or controller ended. */
	if ((w->flags & AGG_F_HOOKED) == 0) {
		ask(a, AGG_OFF, 0, 0);
		return;
	}
	if ((w->flags & AGG_F_SIDE(a->side)) == 0)
		a->side = 1 - a->side;
	a->old_there = (w->flags & sides) == sides;
	set_state(a, STATE_ON);
	/* Switched or not: now it is, and the wish decides. */
	ask(a, is_wanted(a, now_mono()) ? AGG_ON : AGG_DRAIN, 0, 0);
}

static void
on_prepared(struct aggregate *a, int error)
{
	if (error == 0) {
		a->side = 0;
		a->old_there = a->first_sight = false;
		a->missed = 0;
		forget_side(a, 0);
		forget_side(a, 1);
		set_state(a, STATE_PREPARED);
		return;
	}
	bar(a);
	log_info("instance %s: its connections are not counted by the kernel: %s",
	    instance_log_id(a->inst),
	    error == -EBUSY ? "somebody else uses nf_conntrack_acct there" : strerror(-error));
}

static void
on_switched(struct aggregate *a, enum agg_verb verb, int error)
{
	if (error < 0) {
		table_lost(a, error);
		return;
	}
	if (verb == AGG_ON && a->state == STATE_PREPARED)
		log_info("instance %s: busy: the kernel counts its connections from now on",
		    instance_log_id(a->inst));
	if (verb == AGG_ON)
		a->filled_ns = now_mono();
	a->quiet_s = 0;
	set_state(a, verb == AGG_ON ? STATE_ON : STATE_DRAINING);
}

static void
on_read(struct aggregate *a, const struct w_aggregated *w)
{
	uint64_t missed = w->missed;

	if (w->error < 0) {
		table_lost(a, w->error);
		return;
	}
	if (a->read_set == NFT_SEEN_CONN4 && missed != a->missed) {
		lose(a, missed > a->missed ? missed - a->missed : 1, "there was no room for them");
		a->missed = missed;
		if (a->inst->ctl->config->aggregation == AGGREGATION_AUTO)
			bar(a);
	}
	if (a->read_done)
		read_went_on(a);
}

void
aggregate_on_answer(struct controller *c, struct msg *m)
{
	struct w_aggregated w;
	struct instance *i;
	struct aggregate *a;

	memcpy(&w, m->body, sizeof(w));
	i = instance_find(c, w.cookie);
	a = i != NULL ? i->aggregate : NULL;
	if (a == NULL || a->asked != w.verb)
		return;
	a->asked = 0;
	switch ((enum agg_verb)w.verb) {
	case AGG_OPEN:
		if (w.error == 0)
			on_open(a, &w, m);
		else
			bar(a);
		break;
	case AGG_PREPARE:
		on_prepared(a, w.error);
		break;
	case AGG_ON:
	case AGG_DRAIN:
		on_switched(a, w.verb, w.error);
		break;
	case AGG_OFF:
		/* It still takes events away: looked at and tried again. */
		if (w.error < 0) {
			a->inst->attached.aggregates = 1;
			close_socket(a);
			break;
		}
		set_state(a, STATE_OPEN);
		a->first_sight = a->old_there = false;
		break;
	case AGG_ROTATE:
		if (w.error < 0) {
			table_lost(a, w.error);
			break;
		}
		a->side = 1 - a->side;
		forget_side(a, a->side);
		a->old_there = true;
		a->filled_ns = now_mono();
		break;
	case AGG_DROP:
		/* Whoever asked for an exchange has not lived to hear of it. */
		if (w.error == -EBUSY)
			a->side = 1 - a->side;
		if (w.error < 0)
			break;
		forget_side(a, 1 - a->side);
		a->old_there = false;
		break;
	case AGG_READ:
		on_read(a, &w);
		break;
	case AGG_VERBS_:
		break;
	}
}

/* Time */

static void
count_rates(struct aggregate *a)
{
	uint64_t events = a->inst->events - a->events;
	uint64_t counted = a->connections - a->connections_before;

	a->events = a->inst->events;
	a->connections_before = a->connections;
	a->busy_s = events >= BUSY_RATE ? a->busy_s + 1 : 0;
	a->quiet_s = counted + events < QUIET_RATE ? a->quiet_s + 1 : 0;
}

static void
tick(struct aggregate *a)
{
	uint64_t now = now_mono();
	bool wanted;

	count_rates(a);
	if (a->asked != 0 || a->reading) {
		if (now - (a->reading ? a->read_ns : a->asked_ns) < ANSWER_NS)
			return;
		lose(a, 1, "the kernel or the warden does not answer");
		close_socket(a);
	}
	wanted = is_wanted(a, now);
	switch (a->state) {
	case STATE_CLOSED:
		if (wanted || a->inst->attached.aggregates != 0)
			ask(a, AGG_OPEN, 0, 0);
		break;
	case STATE_OPEN:
		a->inst->attached.aggregates = 0;
		if (wanted)
			ask(a, AGG_PREPARE, 0, 0);
		break;
	case STATE_PREPARED:
		if (!wanted)
			ask(a, AGG_OFF, 0, 0);
		else if (now - a->state_ns >= SETTLE_NS)
			ask(a, AGG_ON, 0, 0);
		break;
	case STATE_ON:
		if (!wanted)
			ask(a, AGG_DRAIN, 0, 0);
		else if (now >= a->read_again_ns)
			read_begin(a);
		break;
	case STATE_DRAINING:
		if (wanted)
			ask(a, AGG_ON, 0, 0);
		else if (now >= a->read_again_ns)
			read_begin(a);
		break;
	}
}

void
aggregate_tick(struct controller *c)
{
	struct aggregate **p = &c->aggregates, *a;

	while ((a = *p) != NULL) {
		if (a->inst != NULL) {
			tick(a);
		} else if (now_mono() - a->left_ns >= KEPT_NS) {
			*p = a->next;
			free_aggregate(a);
			continue;
		}
		p = &a->next;
	}
}

static struct aggregate **
find_place(struct controller *c, uint64_t cookie)
{
	struct aggregate **p = &c->aggregates;

	while (*p != NULL && (*p)->cookie != cookie)
		p = &(*p)->next;
	return p;
}

void
aggregate_start(struct instance *i)
{
	struct aggregate **p = find_place(i->ctl, i->ns.cookie);

	if (i->is_host)
		return;
	if (*p == NULL)
		*p = aggregate_new(i->ns.cookie, i->ctl->seed);
	if (*p == NULL)
		return;
	(*p)->inst = i;
	(*p)->events = i->events;
	i->aggregate = *p;
}

void
aggregate_stop(struct instance *i)
{
	struct aggregate *a = i->aggregate;

	if (a == NULL)
		return;
	/* Should it be its end, nobody reads what was counted since. */
	if (a->state >= STATE_ON)
		complete_on_loss(i);
	close_socket(a);
	i->aggregate = NULL;
	a->inst = NULL;
	a->left_ns = now_mono();
}

void
aggregate_forget(struct controller *c, uint64_t cookie)
{
	struct aggregate **p = find_place(c, cookie), *a = *p;

	if (a == NULL)
		return;
	*p = a->next;
	free_aggregate(a);
}

bool
aggregate_is_on(const struct instance *i)
{
	return i->aggregate != NULL && i->aggregate->state == STATE_ON;
}

json_t *
aggregate_to_json(const struct instance *i)
{
	static const char *const names[] = {
		[STATE_PREPARED] = "beginning", [STATE_ON] = "on", [STATE_DRAINING] = "ending"
	};
	const struct aggregate *a = i->aggregate;

	if (a == NULL || a->state < STATE_PREPARED)
		return json_null();
	return json_pack("{s:s, s:I, s:I}", "state", names[a->state], "connections",
	    (json_int_t)a->connections, "missed", (json_int_t)a->missed);
}
