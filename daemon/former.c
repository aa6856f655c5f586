/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See former.h. The file is STATE/places: for each namespace that rules name, by the cookie that no
 * other one of this boot will ever have, its container, its workload and its addresses.
 *
 * Rules that stand from before a daemon was away name addresses of whoever died meanwhile, and the
 * next one to get such an address would pass by them. To make them anew without it, one has to know
 * who else may be in them; that everybody tells only by and by, and engines may take seconds. Until
 * then a row answers for its namespace, if that one lives: what was so when the rules were made
 * takes nothing from them. Who has no row is in none of them.
 *
 * So rows are written before the rules that name them are sent. They are not synced: nothing of
 * them outlives the boot, and the kernel keeps them over our death. What is known of a namespace by
 * now is believed before its row, and before those of others.
 */
#include "config.h"

#include "daemon/former.h"
#include "daemon/controller.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "daemon/statefile.h"
#include "netlink/rtnl.h"
#include "rules/compile.h"
#include "rules/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "places"
#define FILE_MAX (16u << 20)
#define HEAD_STRLEN 64

/* Of another boot or program it says nothing. */
static const char *
head(char buf[static HEAD_STRLEN])
{
	char boot[BOOT_ID_STRLEN];

	snprintf(buf, HEAD_STRLEN, "%.20s %s", PACKAGE_VERSION, boot_id(boot));
	return buf;
}

void
former_load(struct controller *c)
{
	json_t *o = NULL, *places;
	char buf[HEAD_STRLEN];
	const char *of;
	int r;

	former_forget(c);
	if (c->state_dir == NULL)
		return;
	r = statefile_read(c->state_dir, FILE_NAME, FILE_MAX, &o);
	if (r < 0 && r != -ENOENT)
		log_warn("%s cannot be read, rules of before stay until everybody is known: %s",
		    FILE_NAME, strerror(-r));
	of = json_string_value(json_object_get(o, "of"));
	places = json_object_get(o, "places");
	if (of != NULL && strcmp(of, head(buf)) == 0 && json_is_object(places))
		c->former = json_incref(places);
	json_decref(o);
}

void
former_forget(struct controller *c)
{
	json_decref(c->former);
	c->former = NULL;
}

bool
former_stands_in(const struct controller *c)
{
	return c->former != NULL && c->scanned;
}

static json_t *
row_of_namespace(const struct instance *i)
{
	char key[24];
	json_t *row;

	if (i->ctl->former == NULL || (i->ns.flags & NETNS_F_USER) != 0)
		return NULL;
	snprintf(key, sizeof(key), "%" PRIu64, i->ns.cookie);
	row = json_object_get(i->ctl->former, key);
	return json_is_string(json_object_get(row, "container")) ? row : NULL;
}

/* Of a container that is known by now, and is another one. */
static bool
is_anothers(const json_t *row, const struct instance *i)
{
	const char *id = json_string_value(json_object_get(row, "container"));

	return i->ns.container_id[0] != '\0' && strcmp(id, i->ns.container_id) != 0;
}

static json_t *
row_of(const struct instance *i)
{
	json_t *row = row_of_namespace(i);

	/* A namespace that outlived its container is nobody's. */
	return row != NULL && !is_anothers(row, i) ? row : NULL;
}

static const char *
row_workload(const json_t *row)
{
	return json_string_value(json_object_get(row, "workload"));
}

const char *
former_owner(const struct instance *i)
{
	const json_t *row = row_of_namespace(i);

	return row != NULL && is_anothers(row, i) ? row_workload(row) : NULL;
}

const char *
former_workload(const struct instance *i)
{
	return i->workload == NULL && !i->is_host ? row_workload(row_of(i)) : NULL;
}

static bool
has_addrs(const struct instance *i)
{
	return i->addrs != NULL && rtnl_watch_ready(i->addrs);
}

/* Into a sorted list that has room. */
static void
insert_addr(struct addr *list, size_t *n, const struct addr *a)
{
	size_t k = *n;

	while (k > 0 && addr_cmp(&list[k - 1], a) > 0)
		k--;
	if (k > 0 && addr_eq(&list[k - 1], a))
		return;
	memmove(&list[k + 1], &list[k], (*n - k) * sizeof(*list));
	list[k] = *a;
	++*n;
}

/* It is where somebody is known to be by now. */
static bool
is_taken(const struct instance *i, const struct addr *a)
{
	bool ambiguous;
	const struct instance *by = addr_map_find(i->ctl->addr_map, a, &ambiguous);

	return ambiguous || (by != NULL && by != i);
}

/* Its addresses, those that it has if they are known. At most room. */
static void
add_addrs(const struct instance *i, const json_t *row, struct addr *list, size_t *n, size_t room)
{
	const json_t *texts = json_object_get(row, "addresses"), *text;
	size_t count, k;
	const struct rtnl_addr *own = instance_addrs(i, &count);
	struct addr a;

	for (k = 0; k < count && *n < room; k++)
		if (!instance_shares_addr(i, &own[k].addr))
			insert_addr(list, n, &own[k].addr);
	if (has_addrs(i))
		return;
	json_array_foreach(texts, k, text)
	{
		if (*n < room && json_is_string(text) &&
		    addr_parse(json_string_value(text), &a) == 0 && !is_taken(i, &a))
			insert_addr(list, n, &a);
	}
}

static struct inventory_entry *
entry_of(struct inventory *inv, struct workload *w)
{
	struct inventory_entry *entries = (struct inventory_entry *)inv->entries, *e;

	if (w->inventory_at != SIZE_MAX)
		return &entries[w->inventory_at];
	e = &entries[inv->n_entries];
	e->workload = strdup(w->name);
	if (e->workload == NULL)
		return NULL;
	w->inventory_at = inv->n_entries++;
	return e;
}

static int
add_to_entry(
    const struct instance *i, const json_t *row, const char *workload, struct inventory *inv)
{
	struct workload *w = workload != NULL ? workload_find(i->ctl, workload) : NULL;
	struct inventory_entry *e;
	struct addr *list;
	size_t room;

	/* One place for each that is known: others have none. */
	if (w == NULL)
		return 0;
	e = entry_of(inv, w);
	if (e == NULL)
		return -ENOMEM;
	room = e->n_addrs + CTL_MAX_ADDRS;
	list = reallocarray((void *)e->addrs, room + 1, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	e->addrs = list;
	add_addrs(i, row, list, &e->n_addrs, room);
	return 0;
}

int
former_add(struct controller *c, struct inventory *inv)
{
	int r = 0;

	if (!former_stands_in(c))
		return 0;
	for (const struct instance *i = c->instances; r == 0 && i != NULL; i = i->next) {
		const json_t *row = row_of(i);

		if (row == NULL || (has_addrs(i) && (i->is_host || i->workload != NULL)) ||
		    instance_is_refused(i))
			continue;
		if (i->is_host)
			add_addrs(i, row, (struct addr *)inv->host, &inv->n_host, RTNL_MAX_ADDRS);
		else
			r = add_to_entry(i, row,
			    i->workload != NULL ? i->workload->name : row_workload(row), inv);
	}
	return r;
}

/* Of who is where, by rows that are known and rows that are remembered. */
static uint64_t
hash_places(const struct controller *c)
{
	uint64_t h = c->seed;

	for (const struct instance *i = c->instances; i != NULL; i = i->next) {
		size_t n;
		const struct rtnl_addr *a = instance_addrs(i, &n);
		uint64_t of = i->workload != NULL ? i->workload->peer : 0, id;

		memcpy(&id, i->ns.container_id, sizeof(id));
		h = hash_mix64(h ^ hash_mix64(id) ^ hash_mix64(i->ns.cookie) ^ of ^
			       (uint64_t)has_addrs(i) << 40 ^
			       (uint64_t)instance_is_refused(i) << 41 ^ (uintptr_t)row_of(i) << 42);
		for (size_t k = 0; k < n; k++)
			h = hash_mix64(h ^ addr_hash(&a[k].addr, c->seed) ^
				       (uint64_t)instance_shares_addr(i, &a[k].addr));
	}
	return h;
}

/* NULL: no rule names it. */
static json_t *
row_to_json(const struct instance *i, struct addr *list)
{
	json_t *row = row_of(i), *texts;
	const char *workload = i->workload != NULL ? i->workload->name : row_workload(row);
	const char *id = i->ns.container_id;
	size_t n = 0;

	if (i->is_host)
		workload = "";
	if (workload == NULL || instance_is_refused(i) || (i->ns.flags & NETNS_F_USER) != 0)
		return NULL;
	add_addrs(i, row, list, &n, i->is_host ? RTNL_MAX_ADDRS : CTL_MAX_ADDRS);
	if (n == 0)
		return NULL;
	texts = json_array();
	for (size_t k = 0; k < n; k++) {
		char text[ADDR_STRLEN];

		json_array_append_new(texts, json_string(addr_format(&list[k], text)));
	}
	if (id[0] == '\0' && row != NULL)
		id = json_string_value(json_object_get(row, "container"));
	return json_pack("{s:s, s:o, s:o}", "container", id, "workload", json_text(workload),
	    "addresses", texts);
}

void
former_save(struct controller *c)
{
	_cleanup_free_ struct addr *list = NULL;
	_cleanup_free_ char *text = NULL;
	uint64_t h = hash_places(c);
	char buf[HEAD_STRLEN], key[24];
	json_t *places, *o;
	int r;

	if (c->state_dir == NULL || h == c->former_saved)
		return;
	/* Before everybody is announced, rows of those who are not may still be needed. */
	if (!c->caught_up && !former_stands_in(c))
		return;
	list = calloc(RTNL_MAX_ADDRS + 1, sizeof(*list));
	places = json_object();
	for (const struct instance *i = c->instances; list != NULL && i != NULL; i = i->next) {
		json_t *row = row_to_json(i, list);

		snprintf(key, sizeof(key), "%" PRIu64, i->ns.cookie);
		if (row != NULL)
			json_object_set_new(places, key, row);
	}
	o = json_pack("{s:s, s:o}", "of", head(buf), "places", places);
	text = list != NULL && o != NULL ? json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	json_decref(o);
	r = text != NULL ? statefile_keep_text(c->state_dir, FILE_NAME, text, strlen(text))
			 : -ENOMEM;
	if (r == 0) {
		c->former_saved = h;
		return;
	}
	/* What it says is out of date: allowed connections would be lost by it. */
	if (c->former_saved != 0)
		log_warn("%s cannot be written: at the next start rules of before stay until "
			 "everybody is known: %s",
		    FILE_NAME, strerror(-r));
	c->former_saved = 0;
	statefile_remove(c->state_dir, FILE_NAME);
}
