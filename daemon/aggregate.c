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
#include "daemon/aggregate_internal.h"
#include "daemon/controller.h"
#include "daemon/grade.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/promote.h"

#include <errno.h>
#include <string.h>

/*
 * When it is worth it: connections a second, and for how many of them. For each event the kernel
 * goes through the event sockets of all namespaces: with more of those that is what it costs.
 */
#define BUSY_RATE 500u
#define BUSY_S 5u
#define QUIET_RATE 125u
#define QUIET_S 60u
#define MANY_NAMESPACES 256u
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

static void
set_state(struct aggregate *a, enum aggregate_state s)
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

void
aggregate_close(struct aggregate *a)
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

void
aggregate_lose(struct aggregate *a, uint64_t n, const char *why)
{
	a->inst->ct_stats.lost += n;
	a->inst->lost_ns = now_mono();
	complete_on_loss(a->inst, LOSS_COUNTERS);
	if (!a->loss_logged)
		log_warn("instance %s: connections counted by the kernel are lost: %s",
		    instance_log_id(a->inst), why);
	a->loss_logged = true;
}

void
aggregate_ask(struct aggregate *a, enum agg_verb verb, unsigned side, unsigned set)
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

void
aggregate_table_lost(struct aggregate *a, int error)
{
	aggregate_lose(a, 1, error == -ENOENT ? "their table is gone" : strerror(-error));
	a->reading = a->stands = false;
	forget_side(a, 0);
	forget_side(a, 1);
	a->first_sight = true; /* should any of it stand after all */
	if (a->inst->ctl->config->aggregation == AGGREGATION_AUTO)
		bar(a);
	a->inst->dump_wanted = true;
	aggregate_ask(a, AGG_OFF, 0, 0);
}

void
aggregate_read_failed(struct aggregate *a, int error)
{
	if (error == -ENOENT) {
		aggregate_table_lost(a, error);
		return;
	}
	aggregate_lose(a, 1, strerror(-error));
	aggregate_close(a);
}

void
aggregate_was_read(struct aggregate *a)
{
	uint64_t now = now_mono();

	if (a->old_there)
		aggregate_ask(a, AGG_DROP, 1 - a->side, 0);
	else if (a->state == STATE_DRAINING && now - a->state_ns >= DRAIN_NS)
		aggregate_ask(a, AGG_OFF, 0, 0);
	else if (a->fill > FULL || (a->fill > OLD_MIN && now - a->filled_ns >= OLD_NS))
		aggregate_ask(a, AGG_ROTATE, 1 - a->side, 0);
}

/* Answers */

static void
on_open(struct aggregate *a, const struct w_aggregated *w, struct msg *m)
{
	const uint32_t sides = AGG_F_SIDE(0) | AGG_F_SIDE(1);

	if (m->n_fds != 1)
		return;
	a->fd = steal_fd(&m->fds[0]);
	a->ev =
	    event_new(a->inst->ctl->loop.base, a->fd, EV_READ | EV_PERSIST, aggregate_readable, a);
	if (a->ev == NULL || event_add(a->ev, NULL) < 0) {
		aggregate_close(a);
		return;
	}
	set_state(a, STATE_OPEN);
	a->stands = (w->flags & AGG_F_HOOKED) != 0;
	for (unsigned side = 0; side < NFT_SEEN_SIDES; side++)
		if ((w->flags & AGG_F_SIDE(side)) == 0)
			forget_side(a, side);
	if ((w->flags & AGG_F_PRESENT) == 0) {
		a->first_sight = a->old_there = false;
		return;
	}
	/* What was being made when its warden or controller ended. */
	if ((w->flags & AGG_F_HOOKED) == 0) {
		aggregate_ask(a, AGG_OFF, 0, 0);
		return;
	}
	if ((w->flags & AGG_F_SIDE(a->side)) == 0)
		a->side = 1 - a->side;
	a->old_there = (w->flags & sides) == sides;
	set_state(a, STATE_ON);
	/* Switched or not: now it is, and the wish decides. */
	aggregate_ask(a, is_wanted(a, now_mono()) ? AGG_ON : AGG_DRAIN, 0, 0);
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
		aggregate_table_lost(a, error);
		return;
	}
	if (verb == AGG_ON && a->state == STATE_PREPARED)
		log_info("instance %s: busy: the kernel counts its connections from now on",
		    instance_log_id(a->inst));
	if (verb == AGG_ON)
		a->filled_ns = now_mono();
	a->quiet_s = 0;
	a->stands = true;
	set_state(a, verb == AGG_ON ? STATE_ON : STATE_DRAINING);
}

static void
on_off(struct aggregate *a, int error)
{
	/* It still takes events away: looked at and tried again. */
	if (error < 0) {
		a->inst->attached.aggregates = 1;
		aggregate_close(a);
		return;
	}
	set_state(a, STATE_OPEN);
	a->first_sight = a->old_there = a->stands = false;
}

static void
on_rotated(struct aggregate *a, int error)
{
	if (error < 0) {
		aggregate_table_lost(a, error);
		return;
	}
	a->side = 1 - a->side;
	forget_side(a, a->side);
	a->old_there = true;
	a->filled_ns = now_mono();
}

static void
on_dropped(struct aggregate *a, int error)
{
	/* Whoever asked for an exchange has not lived to hear of it. */
	if (error == -EBUSY)
		a->side = 1 - a->side;
	if (error < 0)
		return;
	forget_side(a, 1 - a->side);
	a->old_there = false;
}

static void
count_missed(struct aggregate *a, uint64_t missed)
{
	if (missed == a->missed)
		return;
	aggregate_lose(
	    a, missed > a->missed ? missed - a->missed : 1, "there was no room for them");
	a->missed = missed;
	if (a->inst->ctl->config->aggregation == AGGREGATION_AUTO)
		bar(a);
}

static void
on_read(struct aggregate *a, const struct w_aggregated *w)
{
	if (w->error < 0) {
		aggregate_read_failed(a, w->error);
		return;
	}
	if (a->read_set == NFT_SEEN_CONN4)
		count_missed(a, w->missed);
	if (a->read_done)
		aggregate_read_on(a);
}

static void
on_last(struct aggregate *a, const struct w_aggregated *w, const struct msg *m)
{
	if (m->n_fds != AGG_LAST_FDS || a->state < STATE_ON || a->old_there ||
	    w->flags != AGG_F_SIDE(a->side))
		return;
	count_missed(a, w->missed);
	a->ended = aggregate_read_last(a, m->fds) == 0;
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
	if (a != NULL && w.verb == AGG_LAST)
		on_last(a, &w, m);
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
		on_off(a, w.error);
		break;
	case AGG_ROTATE:
		on_rotated(a, w.error);
		break;
	case AGG_DROP:
		on_dropped(a, w.error);
		break;
	case AGG_READ:
		on_read(a, &w);
		break;
	case AGG_LAST:
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
	const uint64_t many = MAX((uint64_t)a->inst->ctl->n_instances, MANY_NAMESPACES);

	a->events = a->inst->events;
	a->connections_before = a->connections;
	a->busy_s = events * many >= BUSY_RATE * MANY_NAMESPACES ? a->busy_s + 1 : 0;
	a->quiet_s = (counted + events) * many < QUIET_RATE * MANY_NAMESPACES ? a->quiet_s + 1 : 0;
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
		aggregate_lose(a, 1, "the kernel or the warden does not answer");
		aggregate_close(a);
	}
	wanted = is_wanted(a, now);
	switch (a->state) {
	case STATE_CLOSED:
		if (wanted || a->inst->attached.aggregates != 0)
			aggregate_ask(a, AGG_OPEN, 0, 0);
		break;
	case STATE_OPEN:
		a->inst->attached.aggregates = 0;
		if (wanted)
			aggregate_ask(a, AGG_PREPARE, 0, 0);
		break;
	case STATE_PREPARED:
		if (!wanted)
			aggregate_ask(a, AGG_OFF, 0, 0);
		else if (now - a->state_ns >= SETTLE_NS)
			aggregate_ask(a, AGG_ON, 0, 0);
		break;
	case STATE_ON:
	case STATE_DRAINING:
		if (wanted != (a->state == STATE_ON))
			aggregate_ask(a, wanted ? AGG_ON : AGG_DRAIN, 0, 0);
		else if (now >= a->read_again_ns)
			aggregate_read(a);
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
	if (a->state >= STATE_ON && !a->ended)
		complete_on_loss(i, LOSS_END);
	aggregate_close(a);
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

bool
aggregate_stands(const struct instance *i)
{
	const struct aggregate *a = i->aggregate;

	if (a == NULL && !i->is_host)
		a = *find_place(i->ctl, i->ns.cookie);
	return a != NULL && a->stands;
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
