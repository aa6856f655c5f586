/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instances: the warden's namespaces joined with the engines' facts about containers.
 *
 * A namespace is announced by cookie and everything keys on that. Its container is found by the id
 * that the warden read from a process's cgroup; what the engine says about that id gives the
 * workload. A namespace that no engine claims is a workload under its file's name. An instance is
 * attached (observed) as soon as it is announced, before its identity is known, unless --only
 * restricts the daemon: then nothing is loaded before its workload's name matches.
 */
#include "daemon/aggregate.h"
#include "daemon/controller.h"
#include "daemon/enforce.h"
#include "daemon/image.h"
#include "daemon/instance_internal.h"
#include "daemon/learn.h"
#include "daemon/log.h"
#include "daemon/netns_name.h"
#include "daemon/observe.h"
#include "daemon/promote.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "daemon/start.h"
#include "netlink/ct.h"
#include "netlink/rtnl.h"
#include "rules/workload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct instance **
cookie_slot(struct controller *c, uint64_t cookie)
{
	struct instance **p = &c->by_cookie[hash_mix64(cookie) % ARRAY_SIZE(c->by_cookie)];

	while (*p != NULL && (*p)->ns.cookie != cookie)
		p = &(*p)->next_of_cookie;
	return p;
}

struct instance *
instance_find(struct controller *c, uint64_t cookie)
{
	return *cookie_slot(c, cookie);
}

const char *
instance_id(const struct instance *i)
{
	static char id[80];

	if (i->is_host)
		return "host";
	if (i->container != NULL || i->ns.container_id[0] != '\0') {
		snprintf(id, sizeof(id), "%.12s",
		    i->container != NULL ? i->container->id : i->ns.container_id);
		return id;
	}
	if (i->ns.basename[0] != '\0')
		return i->ns.basename;
	snprintf(id, sizeof(id), "netns-%llu", (unsigned long long)i->ns.ino);
	return id;
}

const char *
instance_log_id(const struct instance *i)
{
	static char safe[4 * 80];
	const char *id = instance_id(i);

	text_escape(id, strlen(id), safe, sizeof(safe));
	return safe;
}

bool
instance_is_quarantined(const struct instance *i)
{
	return i->unknown && i->ns.closed_ns != 0 && i->ns.opened_ns == 0 &&
	       i->ctl->config->on_unknown == ON_UNKNOWN_QUARANTINE &&
	       (i->workload == NULL || i->workload->mode_reason == NULL);
}

const struct rtnl_addr *
instance_addrs(const struct instance *i, size_t *ret_n)
{
	const struct rtnl_addr *list;
	size_t n;

	if (i->addrs == NULL) {
		*ret_n = 0;
		return NULL;
	}
	list = rtnl_watch_addrs(i->addrs, &n);
	*ret_n = i->is_host ? n : MIN(n, (size_t)CTL_MAX_ADDRS);
	return list;
}

bool
instance_has_addr(const struct instance *i, const struct addr *a)
{
	size_t n;
	const struct rtnl_addr *list = instance_addrs(i, &n);

	for (size_t k = 0; k < n; k++)
		if (addr_eq(&list[k].addr, a))
			return true;
	return false;
}

bool
instance_had_addr(const struct instance *i, const struct addr *a, uint64_t time_ns)
{
	for (size_t k = 0; k < MIN(i->n_lost_addrs, ARRAY_SIZE(i->lost_addrs)); k++)
		if (addr_eq(&i->lost_addrs[k].addr, a) &&
		    time_ns < i->lost_addrs[k].gone_ns + LATE_NS)
			return true;
	return false;
}

void
instance_lost_addr(struct instance *i, const struct addr *a)
{
	const size_t k = i->n_lost_addrs++ % ARRAY_SIZE(i->lost_addrs);

	i->lost_addrs[k].addr = *a;
	i->lost_addrs[k].gone_ns = now_real();
}

void
instance_set_settling(struct instance *i, bool settling)
{
	if (i->settling == settling)
		return;
	i->settling = settling;
	if (settling)
		i->ctl->n_settling++;
	else
		i->ctl->n_settling--;
}

bool
instance_settling(const struct controller *c)
{
	return !c->scanned || c->n_settling != 0;
}

static void
instance_leave_workload(struct instance *i)
{
	struct instance **p;

	if (i->workload == NULL)
		return;
	applied_on_gone(i, "of this workload no more");
	for (p = &i->workload->instances; *p != NULL && *p != i; p = &(*p)->next_of_workload)
		;
	if (*p == i)
		*p = i->next_of_workload;
	complete_on_left(i);
	i->workload->lost_events += i->ct_stats.lost;
	i->workload->lost_packets += i->lost_packets;
	i->workload->ct_forgotten += i->ct_forgotten;
	i->workload = NULL;
	i->next_of_workload = NULL;
}

static void
instance_join_workload(struct instance *i, const char *name, const char *project)
{
	struct controller *c = i->ctl;
	char safe[PEER_STRLEN];
	struct workload *w = workload_find(c, name);

	if (w == NULL && workload_make_room(c, 1))
		w = workload_get(c, name);
	if (w == NULL)
		return;
	if (i->workload == w) {
		image_check(i);
		return;
	}
	instance_leave_workload(i);
	i->workload = w;
	i->was_refused = false;
	i->image_before = 0;
	i->local_since = c->local_generation + 1;
	i->next_of_workload = w->instances;
	w->instances = i;
	w->last_seen_ns = now_real();
	if (w->first_seen_ns == 0)
		w->first_seen_ns = w->last_seen_ns;
	w->dirty = true;
	workload_set_text(&w->project, project);
	text_escape(w->name, strlen(w->name), safe, sizeof(safe));
	log_info("workload %s: instance %s", safe, instance_log_id(i));
	image_check(i);
	complete_on_joined(i);
	if (workload_selected(c, w->name))
		instance_attach(i);
	else
		instance_let_go(i);
	if (i->attach != ATTACH_ASKED)
		instance_set_settling(i, false);
	learn_retry_waiting(c, false);
	enforce_first(i);
	enforce_schedule(c);
}

static bool
has_waited(const struct instance *i)
{
	uint64_t since = MAX(i->announced_ns, i->ns.began_ns);

	/* While its program has not begun there is time. */
	return !(i->ns.flags & NETNS_F_WAITS) &&
	       now_mono() - MIN(since, now_mono()) >= i->ctl->config->identify_timeout_ns;
}

static bool
is_engine_file(const struct w_netns *n)
{
	return (n->flags & NETNS_F_NAMED) != 0 && netns_name_is_engines(n->basename);
}

/* What the instance is, from all that is known now. */
void
instance_identify(struct instance *i)
{
	struct controller *c = i->ctl;
	struct container_facts plain = {
		.runtime = RUNTIME_NETNS, .id = i->ns.basename, .name = i->ns.basename
	};
	struct workload_id id;

	if (i->is_host)
		return;
	if (i->ns.container_id[0] != '\0') {
		struct container *k = container_find(c, i->ns.container_id);

		i->container = k;
		i->unknown &= k == NULL;
		/* A bundle may not know a name that its engine would give in a moment. */
		if (k != NULL && (!k->nameless || has_waited(i)))
			instance_join_workload(i, k->identity.name, k->identity.project);
		return;
	}
	if ((i->ns.flags & (NETNS_F_USER | NETNS_F_MACHINE)) != 0) {
		plain.user = (i->ns.flags & NETNS_F_USER) != 0 ? i->ns.owner : 0;
		workload_identify(&plain, &id);
		roster_bound_user(c, &id);
		instance_join_workload(i, id.name, id.project);
		return;
	}
	/* An engine's file comes before its container's first process: that says more. */
	if ((i->ns.flags & NETNS_F_NAMED) != 0 && i->ns.basename[0] != '\0' &&
	    (!is_engine_file(&i->ns) || has_waited(i))) {
		workload_identify(&plain, &id);
		identity_rules_apply(&c->config->identity, &plain, &id);
		instance_join_workload(i, id.name, id.project);
	}
}

/*
 * A namespace that outlives its container and gets the next one, addresses and all: until that one
 * is identified it is nobody.
 */
static void
instance_empty(struct instance *i)
{
	size_t n;
	const struct rtnl_addr *a = instance_addrs(i, &n);

	for (size_t k = 0; k < n; k++)
		addr_map_release(i->ctl->addr_map, &a[k].addr, i);
	instance_leave_workload(i);
	i->container = NULL;
	i->image_before = 0;
	i->unknown = false;
	i->announced_ns = now_mono();
	i->renamed_ns = now_real();
	instance_set_settling(i, true);
	enforce_schedule(i->ctl);
}

static bool
is_watched(const struct w_netns *n)
{
	if ((n->flags & NETNS_F_HOST) != 0)
		return true;
	if ((n->flags & NETNS_F_ENGINE) != 0 && netns_name_is_plumbing(n->basename))
		return false;
	return (n->flags & (NETNS_F_NAMED | NETNS_F_ENGINE | NETNS_F_USER | NETNS_F_MACHINE)) !=
		   0 ||
	       n->container_id[0] != '\0';
}

static struct instance *
instance_new(struct controller *c, const struct w_netns *n)
{
	struct instance *i;

	if (c->n_instances >= CTL_MAX_INSTANCES) {
		log_warn("more than %d namespaces: one more is not observed", CTL_MAX_INSTANCES);
		return NULL;
	}
	if ((n->flags & NETNS_F_USER) != 0 && c->n_user_instances >= CTL_MAX_USER_INSTANCES) {
		log_warn("more than %d containers of users: one more is not observed",
		    CTL_MAX_USER_INSTANCES);
		return NULL;
	}
	i = calloc(1, sizeof(*i));
	if (i == NULL)
		return NULL;
	c->n_user_instances += (n->flags & NETNS_F_USER) != 0;
	i->ctl = c;
	i->ct_fd = i->dump_fd = i->diag_fd = -1;
	i->announced_ns = now_mono();
	i->hash = (uint32_t)hash_mix64(n->cookie ^ n->ino << 20);
	i->is_host = (n->flags & NETNS_F_HOST) != 0;
	i->existing = !c->scanned;
	i->ns = *n;
	*cookie_slot(c, n->cookie) = i;
	instance_set_settling(i, true);
	i->next = c->instances;
	c->instances = i;
	c->n_instances++;
	if (i->is_host)
		c->host = i;
	return i;
}

static void
instance_ask(struct instance *i)
{
	struct d_id ask = { 0 };

	if (i->container != NULL || i->ns.container_id[0] == '\0')
		return;
	memcpy(ask.id, i->ns.container_id, sizeof(ask.id));
	role_send(&i->ctl->loop, ROLE_DISCOVERY, MSG_D_LOOKUP, 0, &ask, sizeof(ask));
}

void
instance_ask_all(struct controller *c)
{
	for (struct instance *i = c->instances; i != NULL; i = i->next)
		instance_ask(i);
}

/* Who was taken for a guest here, for want of a namespace for its host, may have one of its own. */
static void
identify_guests(const struct instance *host)
{
	struct controller *c = host->ctl;
	const struct container *k;

	if (c->n_sharing == 0 || host->ns.container_id[0] == '\0')
		return;
	for (struct instance *i = c->instances; i != NULL; i = i->next) {
		k = i != host ? container_known(c, i->ns.container_id) : NULL;
		if (k != NULL && strcmp(k->shares, host->ns.container_id) == 0)
			instance_identify(i);
	}
}

void
instance_on_netns(struct controller *c, const struct w_netns *n)
{
	struct instance *i;
	struct workload *before = NULL;
	uint64_t renamed_ns = 0;
	bool asked_before = false, other_way;

	if (memchr(n->basename, 0, sizeof(n->basename)) == NULL ||
	    memchr(n->container_id, 0, sizeof(n->container_id)) == NULL || !is_watched(n) ||
	    nested_take(c, n))
		return;
	i = instance_find(c, n->cookie);
	if (i != NULL && i->ns.container_id[0] != '\0') {
		asked_before = strcmp(i->ns.container_id, n->container_id) == 0;
		before = i->workload;
		renamed_ns = i->renamed_ns;
		if (!asked_before)
			instance_empty(i);
	}
	if (i == NULL)
		i = instance_new(c, n);
	if (i == NULL)
		return;
	/* What it may do decides about its host guard. */
	if (i->ns.facts != n->facts)
		enforce_schedule(c);
	/* The process it was known by may have ended before it could be entered by that. */
	other_way = i->ns.pid != n->pid || i->ns.flags != n->flags;
	i->ns = *n;
	if (other_way)
		instance_attach_again(i);
	start_on_netns(i);
	nested_sort_out(c, n);
	if (i->is_host || c->only == NULL)
		instance_attach(i);
	instance_identify(i);
	identify_guests(i);
	/* Another container of the same workload, as in a pod. */
	if (before != NULL && i->workload == before)
		i->renamed_ns = renamed_ns;
	if (!asked_before)
		instance_ask(i);
}

static void
instance_free(struct instance *i)
{
	struct controller *c = i->ctl;
	struct instance **p;

	start_count(i);
	observe_stop(i);
	applied_on_gone(i, "gone");
	instance_leave_workload(i);
	for (p = &c->instances; *p != NULL && *p != i; p = &(*p)->next)
		;
	if (*p == i)
		*p = i->next;
	p = cookie_slot(c, i->ns.cookie);
	if (*p == i)
		*p = i->next_of_cookie;
	c->n_instances--;
	c->n_user_instances -= (i->ns.flags & NETNS_F_USER) != 0;
	if (c->host == i)
		c->host = NULL;
	instance_set_settling(i, false);
	container_forget_files(c, i->ns.container_id);
	free(i->guard_asked);
	free(i->asked_rules);
	free(i);
}

void
instance_on_netns_gone(struct controller *c, uint64_t cookie)
{
	struct instance *i = instance_find(c, cookie);

	nested_forget(c, cookie);
	tables_strike(c, cookie);
	if (i != NULL) {
		/* Its addresses are known for the last time. */
		if (!i->is_host && i->is_watched)
			observe_drain(i);
		learn_waiting_of(c, cookie);
		instance_detach(i);
		instance_free(i);
	}
	aggregate_forget(c, cookie);
	if (i == NULL)
		return;
	enforce_schedule(c);
}

void
instance_reset(struct controller *c)
{
	while (c->instances != NULL) {
		/* It is not gone, only asked about anew. */
		c->instances->on_record = false;
		instance_free(c->instances);
	}
	nested_clear(c);
	c->scanned = false;
}

/* A container whose engine does not tell what it is: the short id is all there is. */
static void
give_up_identity(struct instance *i)
{
	char name[32], safe[128];

	if (i->workload != NULL || i->is_host || !has_waited(i))
		return;
	instance_identify(i);
	if (i->workload != NULL)
		return;
	/* Closed for good, and seen nowhere: by its file's name at least. */
	if (i->ns.container_id[0] == '\0' &&
	    (i->ns.closed_ns == 0 || i->ns.opened_ns != 0 ||
		i->ctl->config->on_unknown != ON_UNKNOWN_QUARANTINE))
		return;
	i->unknown = true;
	snprintf(name, sizeof(name), "%.12s",
	    i->ns.container_id[0] != '\0' ? i->ns.container_id : i->ns.basename);
	text_escape(name, strlen(name), safe, sizeof(safe));
	log_warn("container %s: no engine says what it is: it is shown by its id%s", safe,
	    instance_is_quarantined(i) ? " and stays closed" : "");
	instance_join_workload(i, name, "");
}

/* Between two containers it is over in a moment. */
#define SHARED_SAY_S 5

static void
check_shared(struct instance *i)
{
	size_t n, k = 0;
	const struct rtnl_addr *a = instance_addrs(i, &n);
	char text[ADDR_STRLEN];

	while (k < n && !instance_shares_addr(i, &a[k].addr))
		k++;
	if (k == n)
		i->shared_s = 0;
	else if (i->shared_s < SHARED_SAY_S && ++i->shared_s == SHARED_SAY_S)
		log_warn("instance %s: its address %s is another's too: no edge is in force by it",
		    instance_log_id(i), addr_format(&a[k].addr, text));
}

void
instance_tick(struct controller *c)
{
	uint64_t now = now_real();

	for (struct instance *i = c->instances; i != NULL; i = i->next) {
		if (now_mono() - i->announced_ns >= c->config->identify_timeout_ns)
			instance_set_settling(i, false);
		if (has_waited(i))
			start_count(i);
		give_up_identity(i);
		if (i->attach == ATTACH_FAILED && now_mono() >= i->attach_retry_ns)
			instance_attach_again(i);
		observe_tick(i);
		foreign_tick(i);
		check_shared(i);
		if (i->workload != NULL)
			i->workload->last_seen_ns = now;
	}
	aggregate_tick(c);
	labels_tick(c);
	hosted_tick(c);
	workload_count_observed(c);
	complete_tick(c);
	workload_expire_tick(c);
	learn_retry_waiting(c, true);
}
