/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each instance is to have in its kernel, and what is sent for it.
 *
 * A container's start must not cost more the more others are enforced. So a workload is compiled
 * again only where its rules may be others than those that it was compiled to (rules/concern.c),
 * and else the digest of the last time is compared with what its instances have.
 *
 * `local` is in every ruleset, and every start changes it. It decides only how a connection is
 * refused, so what is in it has no part in that digest: it goes along with the next change of an
 * instance's rules, or is loaded when it shows that it is missing, or when its turn has come
 * (enforce.c). Until then what has started since is refused without an answer, as what is not
 * identified is.
 *
 * Before an instance's first enforcement, the established connections that its rules do not refuse
 * and that conntrack has never seen (idle since before the attach) are inserted, so that they live
 * on. The warden handles messages in order: they are in the table before the rules are. What is
 * live and refused is cut once the rules are in force (cut.c).
 */
#include "daemon/controller.h"
#include "daemon/enforce.h"
#include "daemon/former.h"
#include "daemon/gate.h"
#include "daemon/hostguard.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/names.h"
#include "daemon/observe.h"
#include "daemon/quarantine.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "netlink/rtnl.h"
#include "rules/compile.h"
#include "rules/match.h"

#include <errno.h>
#include <string.h>

#define INSERT_TIMEOUT_S 432000 /* the kernel's default for established TCP */
#define REPORTS_PER_SECOND 50
/* How long rules of an earlier life stand untouched until everybody is known again. */
#define CATCH_UP_MAX_NS (10 * NSEC_PER_SEC)

struct insert_arg {
	struct instance *i;
	const struct match *rules;
};

static void
insert_allowed(void *arg, const struct tuple *t)
{
	struct insert_arg *a = arg;
	struct w_ct_tuple body = {
		.cookie = a->i->ns.cookie, .tuple = *t, .timeout_s = INSERT_TIMEOUT_S
	};
	bool oriented = observe_orient(a->i, &body.tuple);

	if (cut_refuses(a->i, a->rules, &body.tuple)) {
		/* Who called whom cannot be told: either way will do. */
		body.tuple = tuple_reverse(&body.tuple);
		if (oriented || cut_refuses(a->i, a->rules, &body.tuple))
			return;
	}
	role_send(&a->i->ctl->loop, ROLE_WARDEN, MSG_W_CT_INSERT, 0, &body, sizeof(body));
}

static int
insert_established(struct instance *i, const struct ruleset *r)
{
	_cleanup_(match_freep) struct match *rules = NULL;
	struct insert_arg arg = { .i = i };
	int ret = match_new(r, &rules);

	if (ret < 0)
		return ret;
	arg.rules = rules;
	observe_established(i, insert_allowed, &arg);
	return 0;
}

static bool
enforces(const struct ruleset *r)
{
	return r->in_mode == MODE_ENFORCE || r->out_mode == MODE_ENFORCE;
}

static int
send_ruleset(
    struct instance *i, const struct ruleset *r, const uint8_t digest[static RULESET_DIGEST_LEN])
{
	struct controller *c = i->ctl;
	_cleanup_free_ uint8_t *bytes = NULL, *body = NULL;
	struct w_cookie head = { .cookie = i->ns.cookie };
	bool held = quarantine_of(i) != NULL;
	size_t len;
	int ret;

	ret = ruleset_encode(r, &bytes, &len);
	if (ret < 0)
		return ret;
	body = malloc(sizeof(head) + len);
	if (body == NULL)
		return -ENOMEM;
	memcpy(body, &head, sizeof(head));
	memcpy(body + sizeof(head), bytes, len);
	if (enforces(r) && !i->enforced_before && !instance_is_refused(i))
		ret = insert_established(i, r);
	if (ret < 0)
		return ret;
	if (++c->next_seq == 0)
		c->next_seq = 1;
	tables_strike(c, i->ns.cookie);
	ret = role_send(
	    &c->loop, ROLE_WARDEN, MSG_W_NFT_APPLY, c->next_seq, body, sizeof(head) + len);
	if (ret < 0)
		return ret;
	i->apply_seq = c->next_seq;
	i->retry_at_ns = 0;
	i->asked_revision = c->revision;
	i->asked_held = held;
	i->asked_refresh =
	    i->local_due && i->match && memcmp(i->applied, digest, sizeof(i->applied)) == 0;
	i->asked_local = c->local_generation;
	i->local_due = false;
	memcpy(i->asked, digest, sizeof(i->asked));
	free(i->asked_rules);
	i->asked_rules = steal_ptr(bytes);
	i->asked_rules_len = len;
	return 0;
}

/* Its sockets may be open long before an engine has said whose it is. */
static bool
awaits_name(const struct instance *i)
{
	return !i->is_host && i->workload == NULL &&
	       now_mono() - i->announced_ns < i->ctl->config->identify_timeout_ns;
}

/*
 * After a start, or another warden's, namespaces, names and addresses become known one after the
 * other. Rules made of some of them would drop what all of them allow.
 */
static bool
is_catching_up(struct controller *c)
{
	bool known = !instance_settling(c);

	if (c->caught_up)
		return false;
	for (const struct instance *i = c->instances; known && i != NULL; i = i->next)
		known = !awaits_name(i) && (i->addrs == NULL || rtnl_watch_ready(i->addrs));
	c->caught_up = known || now_mono() - c->warden_since_ns >= CATCH_UP_MAX_NS;
	if (c->caught_up)
		former_forget(c);
	return !c->caught_up;
}

/* Its rules are those of an earlier life, and everything else about it is as it should be. */
static bool
is_as_before(const struct instance *i)
{
	return !i->ctl->caught_up && i->attached.adopted && i->ns.closed_ns == 0 &&
	       quarantine_of(i) == NULL && i->table_holder == 0 && i->tampered_ns == 0;
}

/* These rules are to stay for now. Its host guard needs its own addresses. */
static bool
is_left_alone(const struct instance *i)
{
	return is_as_before(i) &&
	       (!former_stands_in(i->ctl) || i->addrs == NULL || !rtnl_watch_ready(i->addrs));
}

void
reconcile_local(struct instance *i)
{
	const struct workload *w = i->workload;

	if (!i->has_applied || i->applied_local == i->ctl->local_generation || w == NULL ||
	    w->wants_nothing || instance_is_refused(i) || quarantine_of(i) != NULL)
		return;
	i->local_due = true;
	enforce_schedule(i->ctl);
}

void
reconcile_on_refused(struct instance *i, const struct instance *other)
{
	uint64_t now = now_mono();

	/* Of many, the report of the first is enough. */
	if (i->applied_local >= other->local_since || now - i->local_asked_ns < NSEC_PER_SEC)
		return;
	i->local_asked_ns = now;
	reconcile_local(i);
}

static bool
has_applied(const struct instance *i, const uint8_t digest[static RULESET_DIGEST_LEN])
{
	return i->has_applied && i->match && !i->local_due &&
	       memcmp(i->applied, digest, sizeof(i->applied)) == 0;
}

/* Has a ruleset to be sent to it, as it is to have that one? Nothing: one that only observes. */
static bool
is_due(struct instance *i, const uint8_t digest[static RULESET_DIGEST_LEN], bool nothing)
{
	if (i->attach != ATTACH_DONE || instance_is_quarantined(i) || is_left_alone(i))
		return false;
	/*
	 * What the rules that stand are for is not known: neither loosened nor replaced, but by a
	 * quarantine's, which then stand in their turn.
	 */
	if (i->ctl->held && (i->attached.adopted || i->ns.closed_ns != 0) &&
	    quarantine_of(i) == NULL)
		return false;
	if (i->apply_seq != 0)
		return false; /* an answer is due: reconciliation follows it */
	if (hostguard_update(i))
		i->match = false;
	if (has_applied(i, digest)) {
		i->retry_at_ns = 0;
		i->applied_revision = i->ctl->revision;
		return false;
	}
	/* A fresh table holds the observe rules already. */
	if (!i->has_applied && !i->attached.adopted && i->ns.closed_ns == 0 && nothing) {
		i->applied_revision = i->ctl->revision;
		return false;
	}
	return i->retry_at_ns == 0 || now_mono() >= i->retry_at_ns;
}

/* enforce_tick() comes back to it. */
static void
try_again(struct instance *i)
{
	i->retry_at_ns = now_mono() + NSEC_PER_SEC;
}

static void
reconcile_instance(
    struct instance *i, const struct ruleset *r, const uint8_t digest[static RULESET_DIGEST_LEN])
{
	int ret = send_ruleset(i, r, digest);

	if (ret < 0) {
		log_warn("instance %s: rules could not be sent, trying again: %s",
		    instance_log_id(i), strerror(-ret));
		try_again(i);
	}
}

/* Rules that let nothing through. */
static void
reconcile_closed(struct instance *i)
{
	const struct ruleset closed = { .in_mode = MODE_ENFORCE,
		.out_mode = MODE_ENFORCE,
		.report_per_second = REPORTS_PER_SECOND };
	uint8_t digest[RULESET_DIGEST_LEN];

	if (ruleset_digest_verdicts(&closed, digest) == 0 && is_due(i, digest, false))
		reconcile_instance(i, &closed, digest);
}

/* Refusals are not even answered: who asks learns nothing of it. */
static void
reconcile_held(struct instance *i)
{
	const char *name = i->workload != NULL ? i->workload->name : "?";
	_cleanup_(ruleset_freep) struct ruleset *r = NULL;
	_cleanup_(policy_freep) struct policy *p = NULL;
	uint8_t digest[RULESET_DIGEST_LEN];
	int ret = quarantine_policy(quarantine_of(i), name, &p);

	if (ret == 0)
		ret = ruleset_compile(p, i->ctl->inventory, name, now_real(), &r);
	if (ret == 0) {
		r->n_local = 0;
		ret = ruleset_digest_verdicts(r, digest);
	}
	if (ret < 0) {
		log_error("instance %s: no ruleset for its quarantine, trying again: %s",
		    instance_log_id(i), strerror(-ret));
		try_again(i);
	} else if (is_due(i, digest, false)) {
		reconcile_instance(i, r, digest);
	}
}

/* The ruleset of a workload, and in the workload its digest. */
static int
compile(struct controller *c, struct workload *w, struct ruleset **ret)
{
	_cleanup_(ruleset_freep) struct ruleset *r = NULL;
	char safe[PEER_STRLEN];
	int rc = ruleset_compile(c->policy, c->inventory, w->name, now_real(), &r);

	if (rc == 0)
		rc = ruleset_digest_verdicts(r, w->wanted);
	if (rc < 0) {
		text_escape(w->name, strlen(w->name), safe, sizeof(safe));
		log_error(
		    "workload %s: no ruleset, the rules in force stay: %s", safe, strerror(-rc));
		return rc;
	}
	w->wants_nothing = r->in_mode == MODE_OBSERVE && r->out_mode == MODE_OBSERVE;
	*ret = steal_ptr(r);
	return 0;
}

static void
reconcile_workload(struct controller *c, struct workload *w)
{
	_cleanup_(ruleset_freep) struct ruleset *r = NULL;

	if (!workload_selected(c, w->name))
		return;
	if (!w->is_compiled)
		w->is_compiled = compile(c, w, &r) == 0;
	for (struct instance *i = w->instances; i != NULL; i = i->next_of_workload) {
		if (quarantine_of(i) != NULL)
			reconcile_held(i);
		else if (instance_is_refused(i))
			reconcile_closed(i);
		else if (w->is_compiled && is_due(i, w->wanted, w->wants_nothing) &&
			 (r != NULL || compile(c, w, &r) == 0))
			reconcile_instance(i, r, w->wanted);
		else if (!w->is_compiled)
			try_again(i);
	}
}

/*
 * It is not identified yet, but its rules may name who has died. As before, without those; nothing
 * else about it is touched, its host guard neither.
 */
static void
reconcile_former(struct instance *i, const char *workload)
{
	struct controller *c = i->ctl;
	_cleanup_(ruleset_freep) struct ruleset *r = NULL;
	uint8_t digest[RULESET_DIGEST_LEN];
	int ret;

	if (i->attach != ATTACH_DONE || !is_as_before(i) || c->held || i->apply_seq != 0 ||
	    i->has_applied || now_mono() < i->retry_at_ns || workload_find(c, workload) == NULL ||
	    !workload_selected(c, workload))
		return;
	ret = ruleset_compile(c->policy, c->inventory, workload, now_real(), &r);
	if (ret == 0)
		ret = ruleset_digest_verdicts(r, digest);
	if (ret < 0)
		try_again(i);
	else if (!i->stood_in || memcmp(i->asked, digest, sizeof(digest)) != 0)
		reconcile_instance(i, r, digest);
}

/* While the daemon was away it got another container. */
static bool
stands_for_another(const struct instance *i)
{
	const char *owner = former_stands_in(i->ctl) ? former_owner(i) : NULL;
	const struct workload *w = owner != NULL ? workload_find(i->ctl, owner) : NULL;

	return w != NULL && w->mode == MODE_ENFORCE && i->attached.adopted;
}

/* Whose container is gone: what the next one in the namespace may do is not known yet. */
static void
reconcile_nameless(struct instance *i)
{
	if (i->workload == NULL && quarantine_of(i) != NULL)
		reconcile_held(i);
	else if (i->workload == NULL && (i->enforced_before || stands_for_another(i)))
		reconcile_closed(i);
	else if (former_stands_in(i->ctl) && former_workload(i) != NULL)
		reconcile_former(i, former_workload(i));
}

/* What is where by now, and whose rules may be others for it. */
static int
look_around(struct controller *c)
{
	static const struct inventory nobody;
	const struct inventory *before = c->inventory != NULL ? c->inventory : &nobody;
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	_cleanup_free_ bool *concerned = NULL;

	if (c->compile_all)
		names_on_policy(c);
	inv = inventory_build(c, false);
	if (inv == NULL)
		return -ENOMEM;
	concerned = calloc(inv->n_entries + 1, sizeof(*concerned));
	if (concerned == NULL)
		return -ENOMEM;
	if (inventory_concerns(c->policy, before, inv, concerned))
		c->local_generation++;
	for (struct workload *w = c->workloads; w != NULL; w = w->next) {
		const struct inventory_entry *e = inventory_find(inv, w->name);

		w->is_compiled &= !c->compile_all && e != NULL && !concerned[e - inv->entries];
	}
	c->compile_all = false;
	inventory_free(c->inventory);
	c->inventory = steal_ptr(inv);
	former_save(c);
	return 0;
}

int
reconcile_all(struct controller *c)
{
	posture_update(c, false);
	if (is_catching_up(c))
		log_debug("not everybody is known again: rules that stand are left alone");
	if (look_around(c) < 0)
		return -ENOMEM;
	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		if (w->instances != NULL)
			reconcile_workload(c, w);
	for (struct instance *i = c->instances; i != NULL; i = i->next)
		reconcile_nameless(i);
	c->memory_used = true;
	return 0;
}

static bool
take_first(struct workload *w)
{
	bool any = false;

	for (struct instance *i = w->instances; i != NULL; i = i->next_of_workload) {
		any |= i->is_first;
		i->is_first = false;
	}
	return any;
}

void
reconcile_first(struct controller *c)
{
	/* What is left out here is done with all others. */
	if (look_around(c) < 0)
		return;
	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		if (take_first(w))
			reconcile_workload(c, w);
}
