/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Namespaces that a container has made inside: what runs there is outside its rules, so they are
 * counted, and the container is graded by them. They are never instances: who may make a namespace
 * fills it with any addresses, and its processes have the container's id.
 *
 * Only where a container has a namespace with a file is it known which one is its own. With an
 * engine that leaves none, each of its namespaces is an instance, with the container's rules.
 */
#include "daemon/controller.h"
#include "daemon/instance.h"

#include <string.h>

#define NESTED_MAX 4096
#define NESTED_MANY 63 /* and its own: the warden looks at no more */

struct nested {
	struct nested *next;
	struct w_netns ns;
};

/* The id of the container whose namespace it is, also where that one has been joined. */
static const char *
owner_id(struct controller *c, const char *id)
{
	const struct container *k = container_find(c, id);

	return k != NULL ? k->id : id;
}

/* Of one container, machine, or user's container. */
static bool
is_same(struct controller *c, const struct w_netns *a, const struct w_netns *b)
{
	if ((a->flags & NETNS_F_USER) != (b->flags & NETNS_F_USER) || a->owner != b->owner)
		return false;
	if (a->container_id[0] != '\0' || b->container_id[0] != '\0')
		return strcmp(a->container_id, b->container_id) == 0 ||
		       (c->n_sharing > 0 && a->container_id[0] != '\0' &&
			   b->container_id[0] != '\0' &&
			   strcmp(owner_id(c, a->container_id), owner_id(c, b->container_id)) == 0);
	return (a->flags & b->flags & (NETNS_F_USER | NETNS_F_MACHINE)) != 0 &&
	       strcmp(a->basename, b->basename) == 0;
}

static bool
is_nested(struct controller *c, const struct w_netns *n)
{
	if ((n->flags & NETNS_F_NESTED) != 0)
		return true;
	if (n->container_id[0] == '\0' || instance_netns_has_file(n))
		return false;
	for (const struct instance *i = c->instances; i != NULL; i = i->next)
		if (instance_netns_has_file(&i->ns) && i->ns.cookie != n->cookie &&
		    is_same(c, &i->ns, n))
			return true;
	return false;
}

static void
nested_add(struct controller *c, const struct w_netns *n)
{
	struct w_cookie open = { .cookie = n->cookie };
	struct nested *k;

	/* Nobody else opens it: it is no instance. */
	if (n->closed_ns != 0 && n->opened_ns == 0)
		role_send(&c->loop, ROLE_WARDEN, MSG_W_RELEASE, 0, &open, sizeof(open));
	for (k = c->nested; k != NULL; k = k->next)
		if (k->ns.cookie == n->cookie) {
			k->ns = *n;
			return;
		}
	if (c->n_nested >= NESTED_MAX)
		return;
	k = calloc(1, sizeof(*k));
	if (k == NULL)
		return;
	k->ns = *n;
	k->next = c->nested;
	c->nested = k;
	c->n_nested++;
}

bool
nested_take(struct controller *c, const struct w_netns *n)
{
	if (!is_nested(c, n))
		return false;
	nested_add(c, n);
	return true;
}

void
nested_sort_out(struct controller *c, const struct w_netns *own)
{
	struct instance *i, *next;
	struct w_netns ns;

	if (!instance_netns_has_file(own))
		return;
	for (i = c->instances; i != NULL; i = next) {
		next = i->next;
		ns = i->ns;
		if (instance_netns_has_file(&ns) || !is_same(c, &ns, own))
			continue;
		instance_on_netns_gone(c, ns.cookie);
		nested_add(c, &ns);
	}
}

void
nested_forget(struct controller *c, uint64_t cookie)
{
	for (struct nested **p = &c->nested; *p != NULL; p = &(*p)->next) {
		struct nested *k = *p;

		if (k->ns.cookie != cookie)
			continue;
		*p = k->next;
		free(k);
		c->n_nested--;
		return;
	}
}

void
nested_clear(struct controller *c)
{
	while (c->nested != NULL)
		nested_forget(c, c->nested->ns.cookie);
}

size_t
nested_count(const struct instance *i, bool *ret_many)
{
	struct controller *c = i->ctl;
	size_t n = 0;

	*ret_many = false;
	if (i->is_host)
		return 0;
	for (const struct nested *k = c->nested; k != NULL; k = k->next)
		n += is_same(c, &k->ns, &i->ns);
	if (!instance_netns_has_file(&i->ns))
		for (const struct instance *k = c->instances; k != NULL; k = k->next)
			n += k != i && is_same(c, &k->ns, &i->ns);
	*ret_many = n >= NESTED_MANY;
	return n;
}
