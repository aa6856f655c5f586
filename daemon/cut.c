/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cutting what is live and allowed no more. Rules accept what is established, so after rules that
 * may refuse what passed before, the connections of that namespace are read (a dump, on the socket
 * that the warden asks on and we read) and held against the rules that are in force by then: the
 * entries of those they refuse are deleted, by the warden, a batch at a time. What has no entry is
 * new, and refused; TCP out of its middle is not even that. No other entry is touched.
 *
 * The dump comes after the rules, so no entry of what they refuse can be made behind its back. It
 * is read between other events, and no further while BATCHES_MAX batches are with the warden: a
 * table of any size holds up neither of us.
 *
 * An entry whose first packet was not seen (or that we have inserted) may have its ends exchanged.
 * Who listens tells them apart, as it does in learning.
 */
#include "daemon/controller.h"
#include "daemon/enforce.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/observe.h"
#include "netlink/ct.h"
#include "netlink/rtnl.h"
#include "rules/match.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>

#define BATCHES_MAX 4
/* No other request that is answered with DONE has such a number. */
#define SEQ_BIT 0x80000000u

struct cut {
	struct ruleset *rules;
	struct match *match;
	uint64_t began_ns; /* CLOCK_MONOTONIC */
	uint32_t seq;
	unsigned batches; /* with the warden */
	bool reading;	  /* the dump that runs began after the rules were in force */
	bool again;	  /* it did not, or not all was read or deleted */
	uint64_t deleted;
	size_t n;
	struct {
		uint64_t cookie;
		struct tuple tuple[CT_CUT_MAX];
	} batch;
};

void
cut_stop(struct instance *i)
{
	if (i->cut == NULL)
		return;
	match_free(i->cut->match);
	ruleset_free(i->cut->rules);
	free(i->cut);
	i->cut = NULL;
}

static int
cut_get(struct instance *i, struct cut **ret)
{
	struct controller *c = i->ctl;
	struct cut *k = i->cut;

	if (k == NULL) {
		k = calloc(1, sizeof(*k));
		if (k == NULL)
			return -ENOMEM;
		k->seq = ++c->next_seq | SEQ_BIT;
		k->began_ns = now_mono();
		k->batch.cookie = i->ns.cookie;
		i->cut = k;
	}
	*ret = k;
	return 0;
}

/* What has been found is held against these from now on. */
static int
set_rules(struct cut *k, struct ruleset *rules)
{
	struct match *m;
	int r = match_new(rules, &m);

	if (r < 0)
		return r;
	match_free(k->match);
	ruleset_free(k->rules);
	k->match = m;
	k->rules = rules;
	return 0;
}

static void
cut_go_on(struct instance *i)
{
	struct cut *k = i->cut;

	if (k->reading || k->batches > 0)
		return;
	if (k->again) {
		/* One that runs for another reason is followed by ours. */
		observe_dump_to_cut(i);
		return;
	}
	if (k->deleted > 0)
		log_info("instance %s: %" PRIu64 " connections that its rules allow no more were "
			 "cut, in %" PRIu64 " ms",
		    instance_log_id(i), k->deleted,
		    (uint64_t)((now_mono() - k->began_ns) / NSEC_PER_MSEC));
	cut_stop(i);
}

int
cut_begin(struct instance *i, const uint8_t *ruleset, size_t len, bool narrowed)
{
	_cleanup_(ruleset_freep) struct ruleset *rules = NULL;
	struct cut *k;
	int r;

	if (i->cut == NULL && !narrowed)
		return 0;
	r = ruleset_decode(ruleset, len, &rules);
	if (r < 0)
		return r;
	if (rules->in_mode != MODE_ENFORCE && rules->out_mode != MODE_ENFORCE) {
		cut_stop(i);
		return 0;
	}
	r = cut_get(i, &k);
	if (r == 0)
		r = set_rules(k, rules);
	if (r < 0)
		return r;
	rules = NULL;
	k->again |= narrowed;
	cut_go_on(i);
	return 0;
}

static bool
is_broadcast(const struct instance *i, const struct addr *a)
{
	size_t n;
	const struct rtnl_addr *own = instance_addrs(i, &n);

	for (size_t k = 0; k < n && a->family == 4; k++) {
		struct prefix p = prefix_of(&own[k].addr, own[k].prefix_len);
		struct addr_range range = prefix_range(&p);

		if (p.len < 31 && addr_eq(&range.hi, a))
			return true;
	}
	return addr_is_multicast(a) || addr_scope(a) == SCOPE_MULTICAST;
}

/* The chain that the connection's first packet went through; 0: none that lets anything pass. */
static unsigned
direction_of(const struct instance *i, const struct tuple *t)
{
	static const struct addr any4 = { .family = 4 }, any6 = { .family = 6 };
	bool src = instance_has_addr(i, &t->src), dst = instance_has_addr(i, &t->dst);

	if (src && dst)
		return 0; /* it stays on loopback */
	if (src || addr_eq(&t->src, &any4) || addr_eq(&t->src, &any6))
		return DIR_EGRESS;
	return dst || is_broadcast(i, &t->dst) ? DIR_INGRESS : 0;
}

bool
cut_refuses(const struct instance *i, const struct match *rules, const struct tuple *t)
{
	unsigned dir = direction_of(i, t);

	return dir != 0 && match_refuses(rules, (enum flow_dir)dir,
			       dir == DIR_EGRESS ? &t->dst : &t->src, t->proto, t->dport);
}

static bool
entry_is_refused(struct instance *i, const struct ct_entry *e)
{
	const struct match *m = i->cut->match;
	struct tuple t = observe_tuple_of(e), back;

	if (addr_is_loopback(&t.src) || addr_is_loopback(&t.dst))
		return false;
	if (t.proto != IPPROTO_TCP || !e->liberal || observe_orient(i, &t))
		return cut_refuses(i, m, &t);
	/* Who called whom cannot be told: either way will do. */
	back = tuple_reverse(&t);
	return cut_refuses(i, m, &t) && cut_refuses(i, m, &back);
}

static void
send_batch(struct instance *i)
{
	struct cut *k = i->cut;
	size_t len = sizeof(k->batch.cookie) + k->n * sizeof(k->batch.tuple[0]);

	if (k->n == 0)
		return;
	if (role_send(&i->ctl->loop, ROLE_WARDEN, MSG_W_CT_CUT, k->seq, &k->batch, len) == 0)
		k->batches++;
	else
		k->again = true;
	k->n = 0;
}

void
cut_entry(struct instance *i, const struct ct_entry *e)
{
	struct cut *k = i->cut;

	if (k == NULL || !k->reading || !entry_is_refused(i, e))
		return;
	k->batch.tuple[k->n++] = e->orig;
	if (k->n == CT_CUT_MAX)
		send_batch(i);
}

bool
cut_is_busy(const struct instance *i)
{
	return i->cut != NULL && i->cut->batches >= BATCHES_MAX;
}

void
cut_on_dump_begun(struct instance *i)
{
	if (i->cut == NULL)
		return;
	i->cut->reading = true;
	i->cut->again = false;
}

void
cut_on_dump_ended(struct instance *i, bool complete)
{
	struct cut *k = i->cut;

	if (k == NULL)
		return;
	if (!k->reading) {
		cut_go_on(i);
		return;
	}
	send_batch(i);
	k->reading = false;
	if (complete)
		cut_go_on(i);
	else
		k->again = true; /* by cut_tick() */
}

void
cut_on_done(struct controller *c, const struct w_done *d, uint32_t seq)
{
	struct instance *i = instance_find(c, d->cookie);
	struct cut *k = i != NULL ? i->cut : NULL;

	if (k == NULL || k->seq != seq || k->batches == 0)
		return;
	k->batches--;
	k->deleted += d->count;
	i->cut_connections += d->count;
	c->metrics.cut += d->count;
	observe_dump_go_on(i);
	if (d->error < 0) {
		log_warn("instance %s: connections could not be cut, trying again: %s",
		    instance_log_id(i), strerror(-d->error));
		k->again = true;
		return;
	}
	cut_go_on(i);
}

void
cut_tick(struct instance *i)
{
	if (i->cut != NULL)
		cut_go_on(i);
}

void
cut_held(struct instance *i)
{
	struct w_cookie body = { .cookie = i->ns.cookie };

	if (!i->held_cut)
		i->held_cut = role_send(&i->ctl->loop, ROLE_WARDEN, MSG_W_CT_FLUSH, 0, &body,
				  sizeof(body)) == 0;
}
