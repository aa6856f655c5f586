/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Containers: what the engines said of each, by id, and what the instances make of it. Facts come
 * as JSON from discovery, which read what strangers wrote; the name is decided here, by the rules
 * of rules/workload.c.
 *
 * A container that joined another's namespace points at that one by `shares`: the namespace is
 * named after its owner, and both are members.
 */
#include "daemon/controller.h"
#include "daemon/enforce.h"
#include "daemon/gate.h"
#include "daemon/grade.h"
#include "daemon/hostguard.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/network_list.h"
#include "daemon/promote.h"
#include "daemon/published.h"
#include "daemon/stopped.h"
#include "rules/workload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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
	published_remove(c, k);
	for (struct instance *i = c->instances; i != NULL; i = i->next)
		if (i->container == k) {
			i->was_refused = instance_is_refused(i);
			i->image_before = k->image_number;
			i->container = NULL;
		}
}

void
container_free(struct container *k)
{
	if (k == NULL)
		return;
	free(k->facts);
	free(k->name);
	free(k->image);
	free(k->image_id);
	free(k->networks);
	free(k->ports);
	free(k);
}

/*
 * An engine says of it that it uses another's namespace, and the kernel has shown one of each:
 * with a file, which nobody inside can make.
 */
static bool
is_apart(const struct controller *c, const struct container *k)
{
	bool own = false, others = false;

	for (const struct instance *i = c->instances; i != NULL && !(own && others); i = i->next) {
		if (!instance_netns_has_file(&i->ns))
			continue;
		own |= strcmp(i->ns.container_id, k->id) == 0;
		others |= strcmp(i->ns.container_id, k->shares) == 0;
	}
	return own && others;
}

/* The container that the namespace of this one was made for, as far as it is known. */
static struct container *
container_owner(struct controller *c, struct container *k)
{
	struct container *owner;

	for (int depth = 0; k != NULL && k->shares[0] != '\0' && depth < 4; depth++) {
		owner = *container_slot(c, k->shares);
		if (owner == NULL || owner == k || is_apart(c, k))
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

struct container *
container_known(struct controller *c, const char *id)
{
	return *container_slot(c, id);
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
			if (strcmp(k->shares, i->container->id) == 0 && !is_apart(c, k) &&
			    ++n == *pos - 1)
				return k;
	return NULL;
}

/* The gravest first: one sentence is shown. */
static const struct {
	unsigned bit;
	const char *why;
} partial[] = {
	{ GRADE_MANY, "it has made more network namespaces than are looked at, outside its rules" },
	{ GRADE_ENGINE_SOCKET,
	    "an engine's socket is mounted into it: it can start any container" },
	{ GRADE_HOST_PID, "it sees the host's processes: it may reach other namespaces" },
	{ GRADE_NESTED,
	    "it has made a network namespace inside: what runs there is outside its rules" },
	{ GRADE_USER_OWNED, "its namespace is its user's: he can change all in it but the rules" },
};

/* What the warden read in /proc: it adds to what an engine or a bundle says, never the reverse. */
static unsigned
grade_of_task(const struct w_netns *n)
{
	static const struct {
		uint8_t fact;
		unsigned bit;
	} bits[] = {
		{ TASK_F_NET_ADMIN, GRADE_NET_ADMIN },
		{ TASK_F_NET_RAW, GRADE_NET_RAW },
		{ TASK_F_HOST_PID, GRADE_HOST_PID },
		{ TASK_F_USERNS, GRADE_USERNS },
	};
	unsigned grade = (n->flags & NETNS_F_USER) != 0 ? GRADE_USER_OWNED : 0;

	for (size_t k = 0; k < ARRAY_SIZE(bits); k++)
		if ((n->facts & bits[k].fact) != 0)
			grade |= bits[k].bit;
	/* Nobody but its processes tells what it may do, and its first one is its runtime's for a
	 * while. */
	if ((n->flags & NETNS_F_MACHINE) != 0 && (n->facts & TASK_F_READ) == 0)
		grade |= GRADE_UNKNOWN;
	return grade;
}

bool
instance_is_plain(const struct instance *i)
{
	const uint32_t others = NETNS_F_HOST | NETNS_F_USER | NETNS_F_NESTED | NETNS_F_MACHINE;

	return (i->ns.flags & (NETNS_F_NAMED | others)) == NETNS_F_NAMED && i->container == NULL &&
	       i->ns.container_id[0] == '\0';
}

/* That its processes see the host's is nothing that was given to them. */
static unsigned
grade_of_plain(const struct w_netns *n)
{
	if ((n->facts & TASK_F_NET_ADMIN) != 0)
		return GRADE_ROOT | GRADE_NET_RAW;
	return (n->facts & TASK_F_NET_RAW) != 0 ? GRADE_NET_RAW : 0;
}

unsigned
instance_grade_bits(const struct instance *i)
{
	const struct container *k;
	unsigned grade = instance_is_plain(i) ? grade_of_plain(&i->ns) : grade_of_task(&i->ns);
	size_t pos = 0;
	bool many;

	while ((k = instance_next_member(i, &pos)) != NULL)
		grade |= k->grade | (k->host_network ? GRADE_HOST_NETWORK : 0);
	if (nested_count(i, &many) > 0)
		grade |= GRADE_NESTED | (many ? GRADE_MANY : 0);
	return grade;
}

const char *
instance_grade(const struct instance *i, const char **ret_why)
{
	unsigned grade = instance_grade_bits(i);

	*ret_why = NULL;
	if (grade & GRADE_HOST_NETWORK) {
		*ret_why = HOSTED_WHY;
		return "no";
	}
	if (i->attach == ATTACH_FAILED) {
		*ret_why = "its namespace could not be attached";
		return "no";
	}
	if (i->table_holder != 0) {
		*ret_why = foreign_why(i);
		return "no";
	}
	if (i->attach == ATTACH_DONE && !i->attached.owned) {
		*ret_why =
		    "its table has no owner on this kernel: root inside can change it, until the "
		    "daemon repairs it; it outlives the daemon and the keeper";
		return "partial";
	}
	for (size_t k = 0; k < ARRAY_SIZE(partial); k++)
		if (grade & partial[k].bit) {
			*ret_why = partial[k].why;
			return "partial";
		}
	if (grade & (GRADE_NET_ADMIN | GRADE_ROOT)) {
		*ret_why =
		    hostguard_in_force(i)
			? "it has CAP_NET_ADMIN: it can forge connection tracking entries; what it "
			  "sends is held by the host guard, which leaves it what an answer from a "
			  "served port could do"
			: "it has CAP_NET_ADMIN: it can forge connection tracking entries";
		return "partial";
	}
	if (instance_has_other_guest(i)) {
		*ret_why = "a container of an image that is not accepted shares its namespace, and "
			   "its rules (nanoseg approve --image)";
		return "partial";
	}
	if ((grade & GRADE_NET_RAW) || hostguard_is_promised(i))
		return hostguard_holds(i, ret_why) ? "full" : "partial";
	return "full";
}

/* Facts from files end with the last namespace they are about: nobody says that they are gone. */
void
container_forget_files(struct controller *c, const char *id)
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
		container_forget_files(c, owner);
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

/* Once a tag means another image, the engine shows those of the old one by id. */
static bool
is_shown_by_id(const struct container *k, const struct container *before)
{
	char repository[256];

	if (k->image == NULL || k->image_id == NULL || before == NULL || before->image_id == NULL ||
	    before->identity.image_repo[0] == '\0' || strcmp(k->image_id, before->image_id) != 0)
		return false;
	image_repository(k->image, repository, sizeof(repository));
	return repository[0] == '\0';
}

static void
read_dns(struct container *k, const json_t *list)
{
	const char *text;

	for (size_t i = 0; i < json_array_size(list) && k->n_dns < CTL_MAX_DNS; i++) {
		text = json_string_value(json_array_get(list, i));
		if (text != NULL && addr_parse(text, &k->dns[k->n_dns]) == 0)
			k->n_dns++;
	}
}

/* Of one that only a mode is known of, that is its network, if it is none of the others. */
static int
read_networks(struct container *k, const json_t *list, const char *mode)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const json_t *name = json_array_get(list, i);

		if (json_is_string(name))
			r = network_list_add(
			    &k->networks, json_string_value(name), json_string_length(name));
	}
	if (r == 0 && k->networks == NULL && mode != NULL && !k->host_network &&
	    strchr(mode, ':') == NULL && strcmp(mode, "none") != 0) {
		mode = strcmp(mode, "default") == 0 ? "bridge" : mode;
		r = network_list_add(&k->networks, mode, strlen(mode));
	}
	if (r == 0 && k->networks == NULL)
		k->networks = strdup("");
	return r < 0 || k->networks == NULL ? -ENOMEM : 0;
}

static int
container_read(struct container *k, const json_t *o, const struct container *before,
    const struct identity_rules *rules)
{
	_cleanup_free_ struct label *labels = NULL, *image_labels = NULL;
	const json_t *image = json_object_get(o, "imageLabels");
	const json_t *grade = json_object_get(o, "grade");
	struct container_facts f = { .id = k->id };
	const char *shares = json_string_value(json_object_get(o, "shares"));
	const char *engine = json_string_value(json_object_get(o, "engine"));
	const char *mode = json_string_value(json_object_get(o, "networkMode"));
	const char *started = json_string_value(json_object_get(o, "started"));

	k->name = dup_string(o, "name");
	k->image = dup_string(o, "image");
	k->image_id = dup_string(o, "imageId");
	if (k->image_id != NULL)
		sscanf(k->image_id, "sha256:%16" SCNx64, &k->image_number);
	if (is_shown_by_id(k, before)) {
		free(k->image);
		k->image = strdup(before->image);
	}
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
	f.labels_cut = json_integer_value(json_object_get(o, "labelsLeftOut")) > 0;
	f.image_labels = image_labels;
	f.image_labels_known = json_is_object(image);
	f.name_generated = json_is_true(json_object_get(o, "nameGenerated"));
	workload_identify(&f, &k->identity);
	identity_rules_apply(rules, &f, &k->identity);
	k->runtime = f.runtime;
	k->grade = json_is_array(grade) ? grade_from_json(grade) : GRADE_UNKNOWN;
	k->from_files = engine != NULL && strcmp(engine, "files") == 0;
	if (shares != NULL && strlen(shares) < sizeof(k->shares))
		memcpy(k->shares, shares, strlen(shares));
	/* Files may lack a name, or what would tell an image's labels from its own. */
	k->nameless =
	    k->from_files && ((f.runtime != RUNTIME_CRI && (k->name == NULL || *k->name == '\0')) ||
				 (k->identity.labels_refused && !f.image_labels_known));
	k->in_pod = f.runtime == RUNTIME_CRI || (f.pod != NULL && *f.pod != '\0');
	k->host_network = mode != NULL && strcmp(mode, "host") == 0;
	k->existing = started != NULL && strcmp(started, "existing") == 0;
	read_dns(k, json_object_get(o, "dns"));
	if (read_networks(k, json_object_get(o, "networks"), mode) < 0)
		return -ENOMEM;
	return published_read(k, json_object_get(o, "ports"));
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

/* Whose namespace it uses is known now: others of its namespaces are not its own. */
static void
sort_out_nested(struct controller *c, const struct container *k)
{
	struct instance *i = c->instances;

	while (k->shares[0] != '\0' && i != NULL && strcmp(i->ns.container_id, k->shares) != 0)
		i = i->next;
	if (k->shares[0] != '\0' && i != NULL)
		nested_sort_out(c, &i->ns);
}

/* Of the namespace of that container. */
static void
members_changed(struct controller *c, const char *owner)
{
	if (*owner == '\0')
		return;
	for (struct instance *i = c->instances; i != NULL; i = i->next)
		if (i->container != NULL && strcmp(i->container->id, owner) == 0)
			image_check(i);
	enforce_schedule(c);
}

int
container_parse(struct controller *c, const char *json, size_t len, struct container **ret)
{
	json_error_t err;
	json_t *o = json_loadb(json, len, JSON_REJECT_DUPLICATES, &err);
	const char *id = json_string_value(json_object_get(o, "id"));
	struct container *k = NULL;
	int r = -EBADMSG;

	if (id == NULL || strlen(id) != 64)
		goto out;
	k = calloc(1, sizeof(*k));
	r = -ENOMEM;
	if (k == NULL)
		goto out;
	memcpy(k->id, id, 65);
	r = container_read(k, o, *container_slot(c, id), &c->config->identity);
	if (r == 0)
		*ret = steal_ptr(k);
out:
	container_free(k);
	json_decref(o);
	return r;
}

void
instance_on_container(struct controller *c, const char *json, size_t len)
{
	struct container **slot, *k = NULL;
	bool existing = false;
	char id[65];

	if (container_parse(c, json, len, &k) < 0)
		return;
	memcpy(id, k->id, sizeof(id));
	slot = container_slot(c, id);
	/* An engine knows more, and keeps us informed. */
	if (k->from_files && *slot != NULL && !(*slot)->from_files)
		goto out;
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
	stopped_forget(c, id);
	published_add(c, k);
	sort_out_nested(c, k);
	for (struct instance *i = c->instances; i != NULL; i = i->next)
		if (strcmp(i->ns.container_id, id) == 0 || shares_with(i, id)) {
			instance_identify(i);
			complete_on_networks(i->workload);
		}
	members_changed(c, k->shares);
	k = NULL;
	/* What it may do decides about its host guard. */
	enforce_schedule(c);
	gate_check(c);
out:
	container_free(k);
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
	members_changed(c, k->shares);
	container_free(k);
}
