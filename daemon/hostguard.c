/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host guards, the controller's side: who is to have one, which addresses are its own, and what it
 * means for the grade. The warden makes them from the rulesets that it gets anyway.
 */
#include "daemon/controller.h"
#include "daemon/grade.h"
#include "daemon/hostguard.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/quarantine.h"
#include "daemon/roster.h"
#include "netlink/nft.h"
#include "netlink/rtnl.h"

#include <errno.h>
#include <string.h>

bool
hostguard_is_wanted(const struct instance *i)
{
	const struct controller *c = i->ctl;
	unsigned grade = instance_grade_bits(i);

	if (!(c->warden.features & NFT_CAN_INGRESS) || (grade & GRADE_HOST_NETWORK))
		return false;
	/* It stands in for rules that cannot be loaded. */
	if (i->table_holder != 0)
		return c->config->host_guard != HOST_GUARD_OFF;
	switch (c->config->host_guard) {
	case HOST_GUARD_ON:
		return true;
	case HOST_GUARD_AUTO:
		return (grade & (GRADE_NET_RAW | GRADE_NET_ADMIN | GRADE_UNKNOWN)) != 0 ||
		       instance_is_plain(i);
	default:
		return false;
	}
}

static size_t
collect(const struct instance *i, struct w_guard *head, struct w_guard_addr *addrs)
{
	const struct rtnl_addr *a;
	size_t n;

	*head = (struct w_guard){ .cookie = i->ns.cookie, .want = hostguard_is_wanted(i) };
	if (!head->want)
		return 0;
	head->follow = (instance_grade_bits(i) & (GRADE_NET_ADMIN | GRADE_UNKNOWN)) == 0;
	a = instance_addrs(i, &n);
	n = MIN(n, (size_t)GUARD_MAX_ADDRS);
	for (size_t k = 0; k < n; k++)
		addrs[k] = (struct w_guard_addr){ a[k].addr, a[k].ifindex, a[k].prefix_len };
	return n;
}

bool
hostguard_update(struct instance *i)
{
	struct {
		struct w_guard head;
		struct w_guard_addr addrs[GUARD_MAX_ADDRS];
	} body;
	size_t n = collect(i, &body.head, body.addrs);
	size_t len = sizeof(body.head) + n * sizeof(body.addrs[0]);
	bool anew = i->guard_asked == NULL || ((struct w_guard *)i->guard_asked)->want == 0;
	void *copy;

	if (i->guard_asked == NULL
		/* One of an earlier life may stand. */
		? !body.head.want && !i->attached.adopted && !i->existing
		: len == i->guard_asked_len && memcmp(&body, i->guard_asked, len) == 0)
		return false;
	copy = malloc(len);
	if (copy == NULL || role_send(&i->ctl->loop, ROLE_WARDEN, MSG_W_GUARD, 0, &body, len) < 0) {
		free(copy);
		return false;
	}
	memcpy(copy, &body, len);
	free(i->guard_asked);
	i->guard_asked = copy;
	i->guard_asked_len = len;
	if (!body.head.want)
		i->has_guard = false;
	/* It is made with the rules. */
	return anew && body.head.want;
}

void
hostguard_on_guarded(struct controller *c, const struct w_guarded *g)
{
	struct instance *i = instance_find(c, g->cookie);

	if (i == NULL)
		return;
	if (g->changed > i->guard.changed)
		log_error(
		    "instance %s: it has changed a hardware address: what it sends is dropped",
		    instance_log_id(i));
	if (g->error < 0 && g->error != i->guard.error)
		log_error("instance %s: its host guard is not in force: %s", instance_log_id(i),
		    strerror(-g->error));
	i->guard = *g;
	i->has_guard = i->guard_asked == NULL || ((struct w_guard *)i->guard_asked)->want != 0;
}

/* Every way out of its namespace is held. */
static bool
in_force(const struct instance *i)
{
	const struct w_guarded *g = &i->guard;

	return i->has_guard && i->has_applied && i->match && g->error == 0 && g->open == 0 &&
	       g->changed == 0;
}

static enum wl_mode
mode_of(const struct instance *i, enum flow_dir dir)
{
	if (instance_is_refused(i))
		return MODE_ENFORCE;
	return i->workload != NULL ? mode_in(i->workload->mode, i->workload->direction, dir)
				   : MODE_OBSERVE;
}

bool
hostguard_is_promised(const struct instance *i)
{
	return instance_is_plain(i) && mode_of(i, DIR_EGRESS) == MODE_ENFORCE;
}

enum { NO_KERNEL, IS_OFF, EGRESS_OPEN, LINK_OPEN, NOT_IN_FORCE, INGRESS_OPEN, HOLDS };

/* What stands between a raw socket and the outside, of a container and in a plain namespace. */
#define OF_BOTH(rest)                                                        \
	{                                                                    \
		"it has CAP_NET_RAW" rest, "root in it has CAP_NET_RAW" rest \
	}

static const struct {
	const char *of[2];
} raw_why[] = {
	[NO_KERNEL] = { OF_BOTH(
	    ": frames from a raw socket pass its own rules, and this kernel has no netdev "
	    "tables for a host guard") },
	[IS_OFF] = { OF_BOTH(
	    ": frames from a raw socket pass its own rules, and hostGuard is off") },
	[EGRESS_OPEN] = { OF_BOTH(
	    ": frames from a raw socket pass its own rules, and until its egress is enforced "
	    "no host guard holds them") },
	[LINK_OPEN] = { OF_BOTH(
	    " and a link that no host guard can hold: frames from a raw socket pass its own "
	    "rules") },
	[NOT_IN_FORCE] = { OF_BOTH(
	    ": frames from a raw socket pass its own rules, and its host guard is not in "
	    "force") },
	[INGRESS_OPEN] = { OF_BOTH(
	    ": until its ingress is enforced, the host guard cannot tell what a raw socket "
	    "sends from answers") },
	[HOLDS] = { OF_BOTH(
	    ": past its own rules the host guard leaves a raw sender what an answer from a "
	    "served port could do") },
};

static unsigned
raw_held(const struct instance *i)
{
	if (!(i->ctl->warden.features & NFT_CAN_INGRESS))
		return NO_KERNEL;
	if (!hostguard_is_wanted(i))
		return IS_OFF;
	if (mode_of(i, DIR_EGRESS) != MODE_ENFORCE)
		return EGRESS_OPEN;
	if (i->has_guard && i->guard.open > 0)
		return LINK_OPEN;
	if (!in_force(i))
		return NOT_IN_FORCE;
	return mode_of(i, DIR_INGRESS) != MODE_ENFORCE ? INGRESS_OPEN : HOLDS;
}

bool
hostguard_holds(const struct instance *i, const char **ret_why)
{
	unsigned held = raw_held(i);

	*ret_why = raw_why[held].of[instance_is_plain(i)];
	return held == HOLDS;
}

bool
hostguard_closes(const struct instance *i)
{
	const struct w_guarded *g = &i->guard;

	return i->table_holder != 0 && i->has_guard && g->error == 0 && g->open == 0 &&
	       g->devices > 0 &&
	       (mode_of(i, DIR_EGRESS) == MODE_ENFORCE || mode_of(i, DIR_INGRESS) == MODE_ENFORCE ||
		   quarantine_of(i) != NULL);
}

bool
hostguard_in_force(const struct instance *i)
{
	return mode_of(i, DIR_EGRESS) == MODE_ENFORCE && mode_of(i, DIR_INGRESS) == MODE_ENFORCE &&
	       in_force(i);
}

bool
hostguard_is_in_place(const struct instance *i)
{
	return i->has_guard && i->guard.error == 0;
}

json_t *
hostguard_to_json(const struct instance *i)
{
	if (!i->has_guard)
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:I, s:b}", "devices", (json_int_t)i->guard.devices,
	    "unguarded", (json_int_t)i->guard.open, "changed", (json_int_t)i->guard.changed,
	    "dropped", (json_int_t)i->guard.dropped, "inForce", in_force(i));
}
