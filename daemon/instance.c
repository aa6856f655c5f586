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
#include "daemon/controller.h"
#include "daemon/grade.h"
#include "daemon/log.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

/* Names in the engines' folders that are plumbing, not containers. */
static const char *const plumbing[] = { "default", "ingress_sbox", "1-*", "lb_*" };

bool
workload_selected(const struct controller *c, const char *name)
{
	return c->only == NULL || fnmatch(c->only, name, 0) == 0;
}

struct workload *
workload_find(struct controller *c, const char *name)
{
	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		if (strcmp(w->name, name) == 0)
			return w;
	return NULL;
}

struct workload *
workload_get(struct controller *c, const char *name)
{
	struct workload *w = workload_find(c, name);
	struct peer p = { .kind = PEER_WORKLOAD, .name = name };

	if (w != NULL)
		return w;
	if (c->n_workloads >= CTL_MAX_WORKLOADS)
		return NULL;
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return NULL;
	w->name = strdup(name);
	if (w->name == NULL || peer_intern(c->peers, &p, &w->peer) < 0) {
		free(w->name);
		free(w);
		return NULL;
	}
	w->mode = MODE_OBSERVE;
	w->direction = WL_BOTH;
	w->mode_since_ns = now_real();
	w->dirty = true;
	*c->workloads_tail = w;
	c->workloads_tail = &w->next;
	c->n_workloads++;
	return w;
}

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
instance_is_late(const struct instance *i)
{
	return !i->existing;
}

const struct container *
instance_next_member(const struct instance *i, size_t *pos)
{
	const struct controller *c = i->ctl;
	const struct container *k;
	size_t n = 0;

	if (i->container == NULL || (*pos > 0 && c->n_sharing == 0))
		return NULL;
	if ((*pos)++ == 0)
		return i->container;
	for (size_t b = 0; b < ARRAY_SIZE(c->containers); b++)
		for (k = c->containers[b]; k != NULL; k = k->next)
			if (strcmp(k->shares, i->container->id) == 0 && ++n == *pos - 1)
				return k;
	return NULL;
}

/* The gravest first: one sentence is shown. */
static const struct {
	unsigned bit;
	const char *why;
} partial[] = {
	{ GRADE_ENGINE_SOCKET,
	    "an engine's socket is mounted into it: it can start any container" },
	{ GRADE_HOST_PID, "it sees the host's processes: it may reach other namespaces" },
	{ GRADE_NET_ADMIN, "it has CAP_NET_ADMIN: it can forge connection tracking entries" },
	{ GRADE_NET_RAW, "it has CAP_NET_RAW: frames from a raw socket pass its own rules" },
};

static unsigned
instance_grade_bits(const struct instance *i)
{
	const struct container *k;
	unsigned grade = 0;
	size_t pos = 0;

	while ((k = instance_next_member(i, &pos)) != NULL)
		grade |= k->grade | (k->host_network ? GRADE_HOST_NETWORK : 0);
	return grade;
}

const char *
instance_grade(const struct instance *i, const char **ret_why)
{
	unsigned grade = instance_grade_bits(i);

	*ret_why = NULL;
	if (grade & GRADE_HOST_NETWORK) {
		*ret_why = "it uses the host's network";
		return "no";
	}
	if (i->attach == ATTACH_FAILED) {
		*ret_why = "its namespace could not be attached";
		return "no";
	}
	if (i->attach == ATTACH_DONE && !i->attached.owned) {
		*ret_why = "this kernel cannot protect the table from the container's root";
		return "partial";
	}
	for (size_t k = 0; k < ARRAY_SIZE(partial); k++)
		if (grade & partial[k].bit) {
			*ret_why = partial[k].why;
			return "partial";
		}
	return "full";
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

static struct container **
container_slot(struct controller *c, const char *id)
{
	uint64_t h = c->seed;
	struct container **p;

	for (const char *s = id; *s != '\0'; s++)
		h = hash_mix64(h ^ (uint8_t)*s);
	p = &c->containers[h % ARRAY_SIZE(c->containers)];
	while (*p != NULL && strcmp((*p)->id, id) != 0)
		p = &(*p)->next;
	return p;
}

static void
container_unlink(struct controller *c, struct container **slot)
{
	struct container *k = *slot;

	*slot = k->next;
	c->n_containers--;
	c->n_sharing -= k->shares[0] != '\0';
	for (struct instance *i = c->instances; i != NULL; i = i->next)
		if (i->container == k)
			i->container = NULL;
}

static void
container_free(struct container *k)
{
	if (k == NULL)
		return;
	free(k->facts);
	free(k->name);
	free(k->image);
	free(k->image_id);
	free(k);
}

static void
set_settling(struct instance *i, bool settling)
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
instance_attach(struct instance *i)
{
	struct w_attach body = {
		.cookie = i->ns.cookie,
		.host = i->is_host,
		.rcvbuf = i->ctl->config->event_buffer,
	};

	if (i->attach != ATTACH_NONE)
		return;
	if (role_send(&i->ctl->loop, ROLE_WARDEN, MSG_W_ATTACH, 0, &body, sizeof(body)) == 0)
		i->attach = ATTACH_ASKED;
}

void
instance_attach_again(struct instance *i)
{
	if (i->attach != ATTACH_FAILED)
		return;
	i->attach = ATTACH_NONE;
	i->attach_error = 0;
	instance_attach(i);
}

static void
instance_leave_workload(struct instance *i)
{
	struct instance **p;

	if (i->workload == NULL)
		return;
	for (p = &i->workload->instances; *p != NULL && *p != i; p = &(*p)->next_of_workload)
		;
	if (*p == i)
		*p = i->next_of_workload;
	i->workload->lost_events += i->ct_stats.lost;
	i->workload->lost_packets += i->lost_packets;
	i->workload = NULL;
	i->next_of_workload = NULL;
}

static void
instance_join_workload(struct instance *i, const char *name, const char *project)
{
	struct controller *c = i->ctl;
	struct workload *w = workload_get(c, name);
	char safe[PEER_STRLEN];

	if (w == NULL) {
		log_warn("too many workloads: an instance stays without a name");
		return;
	}
	if (i->workload == w)
		return;
	instance_leave_workload(i);
	i->workload = w;
	i->next_of_workload = w->instances;
	w->instances = i;
	w->last_seen_ns = now_real();
	if (w->first_seen_ns == 0)
		w->first_seen_ns = w->last_seen_ns;
	w->dirty = true;
	snprintf(w->project, sizeof(w->project), "%s", project);
	text_escape(w->name, strlen(w->name), safe, sizeof(safe));
	log_info("workload %s: instance %s", safe, instance_log_id(i));
	if (workload_selected(c, w->name))
		instance_attach(i);
	if (i->attach != ATTACH_ASKED)
		set_settling(i, false);
	learn_retry_waiting(c, false);
	enforce_schedule(c);
}

static bool
has_waited(const struct instance *i)
{
	return now_mono() - i->announced_ns >= i->ctl->config->identify_timeout_ns;
}

static bool
is_plumbing(const struct w_netns *n)
{
	for (size_t k = 0; k < ARRAY_SIZE(plumbing); k++)
		if (fnmatch(plumbing[k], n->basename, 0) == 0)
			return true;
	return false;
}

/* Names that engines give to files in /run/netns: "netns-" or "cni-" and a UUID. */
static bool
is_engine_file(const struct w_netns *n)
{
	const char *uuid = strchr(n->basename, '-');

	if ((n->flags & NETNS_F_NAMED) == 0 || uuid == NULL ||
	    (strncmp(n->basename, "netns-", 6) != 0 && strncmp(n->basename, "cni-", 4) != 0))
		return false;
	uuid++;
	return strlen(uuid) == 36 && strspn(uuid, "0123456789abcdef-") == 36;
}

/* The container that the namespace of this one was made for, as far as it is known. */
static struct container *
container_owner(struct controller *c, struct container *k)
{
	struct container *owner;

	for (int depth = 0; k != NULL && k->shares[0] != '\0' && depth < 4; depth++) {
		owner = *container_slot(c, k->shares);
		if (owner == NULL || owner == k)
			break;
		k = owner;
	}
	return k;
}

struct container *
container_find(struct controller *c, const char *id)
{
	return container_owner(c, *container_slot(c, id));
}

/* What the instance is, from all that is known now. */
static void
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
		struct container *k = container_owner(c, *container_slot(c, i->ns.container_id));

		i->container = k;
		/* A bundle may not know a name that its engine would give in a moment. */
		if (k != NULL && (!k->from_files || !k->nameless || has_waited(i)))
			instance_join_workload(i, k->identity.name, k->identity.project);
		return;
	}
	/* An engine's file comes before its container's first process: that says more. */
	if ((i->ns.flags & NETNS_F_NAMED) != 0 && i->ns.basename[0] != '\0' &&
	    (!is_engine_file(&i->ns) || has_waited(i))) {
		workload_identify(&plain, &id);
		instance_join_workload(i, id.name, id.project);
	}
}

static bool
is_watched(const struct w_netns *n)
{
	if ((n->flags & NETNS_F_HOST) != 0)
		return true;
	if ((n->flags & NETNS_F_ENGINE) != 0 && is_plumbing(n))
		return false;
	return (n->flags & (NETNS_F_NAMED | NETNS_F_ENGINE)) != 0 || n->container_id[0] != '\0';
}

static struct instance *
instance_new(struct controller *c, const struct w_netns *n)
{
	struct instance *i;

	if (c->n_instances >= CTL_MAX_INSTANCES) {
		log_warn("more than %d namespaces: one more is not observed", CTL_MAX_INSTANCES);
		return NULL;
	}
	i = calloc(1, sizeof(*i));
	if (i == NULL)
		return NULL;
	i->ctl = c;
	i->ct_fd = i->dump_fd = i->diag_fd = -1;
	i->announced_ns = now_mono();
	i->hash = (uint32_t)hash_mix64(n->cookie ^ n->ino << 20);
	i->is_host = (n->flags & NETNS_F_HOST) != 0;
	i->existing = !c->scanned;
	i->ns = *n;
	*cookie_slot(c, n->cookie) = i;
	set_settling(i, true);
	i->next = c->instances;
	c->instances = i;
	c->n_instances++;
	if (i->is_host)
		c->host = i;
	return i;
}

static bool
has_file(const struct w_netns *n)
{
	return (n->flags & (NETNS_F_NAMED | NETNS_F_ENGINE)) != 0;
}

/*
 * A container that may make namespaces fills one with any addresses, and its processes there have
 * its id: only where none of the id has a file, as with an engine whose folder is elsewhere, is one
 * without a file the container's own. True if n is not.
 */
static bool
is_nested(struct controller *c, const struct w_netns *n)
{
	if (n->container_id[0] == '\0' || has_file(n))
		return false;
	for (const struct instance *i = c->instances; i != NULL; i = i->next)
		if (has_file(&i->ns) && i->ns.cookie != n->cookie &&
		    strcmp(i->ns.container_id, n->container_id) == 0)
			return true;
	return false;
}

/* Those that were announced before the one with the file. */
static void
drop_nested(struct controller *c, const struct w_netns *n)
{
	struct instance *i, *next;

	if (n->container_id[0] == '\0' || !has_file(n))
		return;
	for (i = c->instances; i != NULL; i = next) {
		next = i->next;
		if (is_nested(c, &i->ns))
			instance_on_netns_gone(c, i->ns.cookie);
	}
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

void
instance_on_netns(struct controller *c, const struct w_netns *n)
{
	struct instance *i;
	bool asked_before;

	if (memchr(n->basename, 0, sizeof(n->basename)) == NULL ||
	    memchr(n->container_id, 0, sizeof(n->container_id)) == NULL || !is_watched(n) ||
	    is_nested(c, n))
		return;
	i = instance_find(c, n->cookie);
	asked_before = i != NULL && i->ns.container_id[0] != '\0';
	if (i == NULL)
		i = instance_new(c, n);
	if (i == NULL)
		return;
	i->ns = *n;
	drop_nested(c, n);
	if (i->is_host || c->only == NULL)
		instance_attach(i);
	instance_identify(i);
	if (!asked_before)
		instance_ask(i);
}

/* Facts from files end with the last namespace they are about: nobody says that they are gone. */
static void
forget_files_of(struct controller *c, const char *id)
{
	struct container **slot, *k;
	char owner[65];

	if (*id == '\0')
		return;
	for (struct instance *i = c->instances; i != NULL; i = i->next)
		if (strcmp(i->ns.container_id, id) == 0)
			return;
	slot = container_slot(c, id);
	k = *slot;
	if (k == NULL || !k->from_files)
		return;
	memcpy(owner, k->shares, sizeof(owner));
	container_unlink(c, slot);
	container_free(k);
	if (strcmp(owner, id) != 0)
		forget_files_of(c, owner);
}

static void
instance_free(struct instance *i)
{
	struct controller *c = i->ctl;
	struct instance **p;

	observe_stop(i);
	instance_leave_workload(i);
	for (p = &c->instances; *p != NULL && *p != i; p = &(*p)->next)
		;
	if (*p == i)
		*p = i->next;
	p = cookie_slot(c, i->ns.cookie);
	if (*p == i)
		*p = i->next_of_cookie;
	c->n_instances--;
	if (c->host == i)
		c->host = NULL;
	set_settling(i, false);
	forget_files_of(c, i->ns.container_id);
	free(i);
}

void
instance_on_netns_gone(struct controller *c, uint64_t cookie)
{
	struct instance *i = instance_find(c, cookie);
	struct w_cookie body = { .cookie = cookie };

	if (i == NULL)
		return;
	if (i->attach != ATTACH_NONE)
		role_send(&c->loop, ROLE_WARDEN, MSG_W_RELEASE, 0, &body, sizeof(body));
	instance_free(i);
	enforce_schedule(c);
}

void
instance_reset(struct controller *c)
{
	while (c->instances != NULL)
		instance_free(c->instances);
	c->scanned = false;
}

void
instance_check_headroom(struct instance *i)
{
	uint32_t percent = i->ctl->config->conntrack_alert;
	bool was_full = i->ct_alert;

	i->ct_alert = i->ct_count.max != 0 &&
		      (uint64_t)i->ct_count.count * 100 >= (uint64_t)i->ct_count.max * percent;
	if (i->ct_alert && !was_full)
		log_error("instance %s: conntrack holds %u of %u entries: raise "
			  "net.netfilter.nf_conntrack_max",
		    instance_log_id(i), i->ct_count.count, i->ct_count.max);
}

void
instance_on_attached(struct controller *c, struct msg *m)
{
	struct w_attached a;
	struct instance *i;
	int r;

	memcpy(&a, m->body, sizeof(a));
	i = instance_find(c, a.cookie);
	if (i == NULL || i->attach != ATTACH_ASKED)
		return;
	i->attached = a;
	set_settling(i, false);
	if (a.error < 0 || m->n_fds != 4) {
		i->attach = ATTACH_FAILED;
		i->attach_error = a.error < 0 ? a.error : -EPROTO;
		log_warn("instance %s: not observed: %s", instance_log_id(i),
		    strerror(-i->attach_error));
		return;
	}
	i->attach = ATTACH_DONE;
	i->attached_ns = now_mono();
	i->ct_count =
	    (struct w_ct_stats){ .cookie = a.cookie, .count = a.ct_count, .max = a.ct_max };
	r = observe_start(i, m);
	if (r < 0) {
		log_warn("instance %s: not observed: %s", instance_log_id(i), strerror(-r));
		observe_stop(i);
		i->attach = ATTACH_FAILED;
		i->attach_error = r;
	}
	enforce_schedule(c);
}

static char *
dup_string(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? strdup(s) : NULL;
}

/* Labels of an object, borrowed strings, in a malloc'ed array. */
static struct label *
labels_of(const json_t *o, size_t *ret_n)
{
	struct label *list = calloc(json_object_size(o) + 1, sizeof(*list));
	const char *key;
	json_t *value;
	size_t n = 0;

	*ret_n = 0;
	if (list == NULL)
		return NULL;
	json_object_foreach((json_t *)o, key, value)
	{
		if (json_is_string(value))
			list[n++] = (struct label){ key, json_string_value(value) };
	}
	*ret_n = n;
	return list;
}

static enum runtime
runtime_of(const char *name)
{
	for (int r = RUNTIME_UNKNOWN + 1; name != NULL && r <= RUNTIME_CRI; r++)
		if (strcmp(name, runtime_name((enum runtime)r)) == 0)
			return (enum runtime)r;
	return RUNTIME_UNKNOWN;
}

static int
container_read(struct container *k, const json_t *o)
{
	_cleanup_free_ struct label *labels = NULL, *image_labels = NULL;
	const json_t *image = json_object_get(o, "imageLabels");
	struct container_facts f = { .id = k->id };
	const char *shares = json_string_value(json_object_get(o, "shares"));
	const char *engine = json_string_value(json_object_get(o, "engine"));
	const char *mode = json_string_value(json_object_get(o, "networkMode"));
	const char *started = json_string_value(json_object_get(o, "started"));

	k->name = dup_string(o, "name");
	k->image = dup_string(o, "image");
	k->image_id = dup_string(o, "imageId");
	labels = labels_of(json_object_get(o, "labels"), &f.n_labels);
	image_labels = labels_of(image, &f.n_image_labels);
	if (labels == NULL || image_labels == NULL)
		return -ENOMEM;
	f.runtime = runtime_of(json_string_value(json_object_get(o, "runtime")));
	f.name = k->name;
	f.pod = json_string_value(json_object_get(o, "pod"));
	f.pod_labels_unknown = json_is_false(json_object_get(o, "podLabels"));
	f.image = k->image;
	f.image_id = k->image_id;
	f.labels = labels;
	f.image_labels = image_labels;
	f.image_labels_known = json_is_object(image);
	f.name_generated = json_is_true(json_object_get(o, "nameGenerated"));
	workload_identify(&f, &k->identity);
	k->runtime = f.runtime;
	k->grade = grade_from_json(json_object_get(o, "grade"));
	k->from_files = engine != NULL && strcmp(engine, "files") == 0;
	if (shares != NULL && strlen(shares) < sizeof(k->shares))
		memcpy(k->shares, shares, strlen(shares));
	k->nameless = f.runtime != RUNTIME_CRI && (k->name == NULL || *k->name == '\0');
	k->host_network = mode != NULL && strcmp(mode, "host") == 0;
	k->existing = started != NULL && strcmp(started, "existing") == 0;
	return 0;
}

/* Is the container that it was found by a guest of that one? */
static bool
shares_with(const struct instance *i, const char *id)
{
	const struct container *k;

	if (i->ctl->n_sharing == 0 || i->ns.container_id[0] == '\0')
		return false;
	k = *container_slot(i->ctl, i->ns.container_id);
	return k != NULL && strcmp(k->shares, id) == 0;
}

void
instance_on_container(struct controller *c, const char *json, size_t len)
{
	json_error_t err;
	json_t *o = json_loadb(json, len, JSON_REJECT_DUPLICATES, &err);
	const char *id = json_string_value(json_object_get(o, "id"));
	struct container **slot, *k = NULL;
	bool existing = false;

	if (id == NULL || strlen(id) != 64)
		goto out;
	k = calloc(1, sizeof(*k));
	if (k == NULL)
		goto out;
	memcpy(k->id, id, 65);
	if (container_read(k, o) < 0)
		goto out;
	slot = container_slot(c, id);
	if (*slot == NULL && c->n_containers >= CTL_MAX_CONTAINERS) {
		log_warn("more than %d containers: one more is not identified", CTL_MAX_CONTAINERS);
		goto out;
	}
	if (*slot != NULL) {
		struct container *old = *slot;

		existing = old->existing;
		container_unlink(c, slot);
		container_free(old);
		slot = container_slot(c, id);
	}
	k->existing |= existing;
	k->next = *slot;
	*slot = k;
	c->n_containers++;
	c->n_sharing += k->shares[0] != '\0';
	for (struct instance *i = c->instances; i != NULL; i = i->next)
		if (strcmp(i->ns.container_id, id) == 0 || shares_with(i, id))
			instance_identify(i);
	k = NULL;
	gate_check(c);
out:
	container_free(k);
	json_decref(o);
}

void
instance_on_container_gone(struct controller *c, const struct d_id *d)
{
	struct container **slot, *k;

	if (memchr(d->id, 0, sizeof(d->id)) == NULL)
		return;
	slot = container_slot(c, d->id);
	k = *slot;
	if (k == NULL)
		return;
	container_unlink(c, slot);
	container_free(k);
}

/* A container whose engine does not tell what it is: the short id is all there is. */
static void
give_up_identity(struct instance *i)
{
	char name[32], safe[128];

	if (i->workload != NULL || i->is_host || !has_waited(i))
		return;
	instance_identify(i);
	if (i->workload != NULL || i->ns.container_id[0] == '\0')
		return;
	snprintf(name, sizeof(name), "%.12s", i->ns.container_id);
	text_escape(name, strlen(name), safe, sizeof(safe));
	log_warn("container %s: no engine says what it is: it is shown by its id", safe);
	instance_join_workload(i, name, "");
}

static bool
is_observed(const struct workload *w)
{
	for (const struct instance *i = w->instances; i != NULL; i = i->next_of_workload)
		if (i->attach != ATTACH_DONE)
			return false;
	return w->instances != NULL;
}

/* Time counts only while it was looked at: not while the daemon or the workload was away. */
static void
count_observed(struct controller *c)
{
	const uint64_t minute = 60 * NSEC_PER_SEC;
	uint64_t now = now_mono(), passed = now - c->ticked_ns;

	if (c->ticked_ns == 0 || passed > 10 * NSEC_PER_SEC)
		passed = 0;
	c->ticked_ns = now;
	for (struct workload *w = c->workloads; w != NULL; w = w->next) {
		uint64_t before = w->observed_ns;

		if (!is_observed(w))
			continue;
		w->observed_ns += passed;
		w->dirty |= before / minute != w->observed_ns / minute;
	}
}

void
instance_tick(struct controller *c)
{
	uint64_t now = now_real();

	for (struct instance *i = c->instances; i != NULL; i = i->next) {
		if (now_mono() - i->announced_ns >= c->config->identify_timeout_ns)
			set_settling(i, false);
		give_up_identity(i);
		observe_tick(i);
		if (i->workload != NULL)
			i->workload->last_seen_ns = now;
	}
	count_observed(c);
	learn_retry_waiting(c, true);
}
