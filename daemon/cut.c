/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cutting what is live and allowed no more. Rules accept what is established, so after rules that
 * may refuse what passed before, the connections of that namespace are read (a dump, on the socket
 * that the warden asks on and we read) and held against the rules that are in force by then: the
 * entries of those they refuse are deleted, by the warden, a batch at a time. What has no entry is
 * new, and refused; TCP out of its middle is not even that. No other entry is touched.
 *
 * Any packet of UDP is the first of a connection, also one that the cut one's server sends by
 * itself, in a direction that may not be enforced. So those entries stay and get a mark that the
 * rules drop by, until they time out; as long as there may be one, all rules that follow are
 * followed by a dump, and what they allow has its mark taken.
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
#define UNCUT_BIT 0x40000000u /* of the answer to that */

enum { CUT, UNCUT, N_BATCHES };

struct cut {
	struct ruleset *rules;
	struct match *match;
	uint64_t began_ns; /* CLOCK_MONOTONIC */
	uint32_t seq;
	unsigned batches; /* with the warden */
	bool reading;	  /* the dump that runs began after the rules were in force */
	bool again;	  /* it did not, or not all was read or deleted */
	bool marked;	  /* one with a mark was in the dump, or was made */
	uint64_t deleted;
	struct batch {
		size_t n;
		struct {
			uint64_t cookie;
			struct tuple tuple[CT_CUT_MAX];
		} body;
	} batch[N_BATCHES];
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
		k->seq = (++c->next_seq | SEQ_BIT) & ~UNCUT_BIT;
		k->began_ns = now_mono();
		for (unsigned b = 0; b < N_BATCHES; b++)
			k->batch[b].body.cookie = i->ns.cookie;
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

	narrowed |= i->cut_marked;
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

/*
 * The chains that the connection's first packet may have gone through; 0: none that lets anything
 * pass. Of a container that has more addresses than are known either will do.
 */
static unsigned
directions_of(const struct instance *i, const struct tuple *t)
{
	static const struct addr any4 = { .family = 4 }, any6 = { .family = 6 };
	bool src = instance_has_addr(i, &t->src), dst = instance_has_addr(i, &t->dst);

	if (src && dst)
		return 0; /* it stays on loopback */
	if (src || addr_eq(&t->src, &any4) || addr_eq(&t->src, &any6))
		return DIR_EGRESS;
	return dst || is_broadcast(i, &t->dst) ? DIR_INGRESS : DIR_EGRESS | DIR_INGRESS;
}

bool
cut_refuses(const struct instance *i, const struct match *rules, const struct tuple *t)
{
	unsigned dirs = directions_of(i, t);
	bool refused = dirs != 0;

	if (dirs & DIR_EGRESS)
		refused &= match_refuses(rules, DIR_EGRESS, &t->dst, t->proto, t->dport);
	if (dirs & DIR_INGRESS)
		refused &= match_refuses(rules, DIR_INGRESS, &t->src, t->proto, t->dport);
	return refused;
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
send_batch(struct instance *i, unsigned what)
{
	struct cut *k = i->cut;
	struct batch *b = &k->batch[what];
	size_t len = sizeof(b->body.cookie) + b->n * sizeof(b->body.tuple[0]);

	if (b->n == 0)
		return;
	if (role_send(&i->ctl->loop, ROLE_WARDEN, what == CUT ? MSG_W_CT_CUT : MSG_W_CT_UNCUT,
		what == CUT ? k->seq : k->seq | UNCUT_BIT, &b->body, len) == 0)
		k->batches++;
	else
		k->again = true;
	b->n = 0;
}

void
cut_entry(struct instance *i, const struct ct_entry *e)
{
	struct cut *k = i->cut;
	bool marked = ct_is_cut(e), refused;
	struct batch *b;

	if (k == NULL || !k->reading)
		return;
	refused = entry_is_refused(i, e);
	k->marked |= marked || (refused && e->orig.proto == IPPROTO_UDP);
	if (refused == marked)
		return;
	/* Until the next dump knows better: rules that allow it may come before it has its mark. */
	i->cut_marked |= k->marked;
	b = &k->batch[refused ? CUT : UNCUT];
	b->body.tuple[b->n++] = e->orig;
	if (b->n == CT_CUT_MAX)
		send_batch(i, refused ? CUT : UNCUT);
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
	i->cut->again = i->cut->marked = false;
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
	send_batch(i, CUT);
	send_batch(i, UNCUT);
	k->reading = false;
	if (complete) {
		i->cut_marked = k->marked;
		cut_go_on(i);
	} else {
		k->again = true; /* by cut_tick() */
	}
}

void
cut_on_done(struct controller *c, const struct w_done *d, uint32_t seq)
{
	struct instance *i = instance_find(c, d->cookie);
	struct cut *k = i != NULL ? i->cut : NULL;

	if (k == NULL || k->seq != (seq & ~UNCUT_BIT) || k->batches == 0)
		return;
	k->batches--;
	if ((seq & UNCUT_BIT) == 0) {
		k->deleted += d->count;
		i->cut_connections += d->count;
		c->metrics.cut += d->count;
	}
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
