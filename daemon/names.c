/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of addresses, by what the resolvers of a workload's instances told them: what external
 * peers are called, and the addresses that domain names in its edges stand for.
 *
 * The capture role passes on only answers to questions that the namespace itself has asked. Here
 * the resolver is looked at: it is one of the host's or the engine's configuration or of ours, the
 * host itself, or the engine's own on loopback, behind the engine's NAT. What a container writes
 * into its own resolv.conf is not asked. Another's answers are counted and mean nothing.
 *
 * An address holds for fqdnMinTtl at least, as programs keep addresses for longer than they should;
 * one that a policy speaks of goes only after a dump of the connections has shown that nobody uses
 * it. They survive us in STATE/names.json: rules that stand would otherwise be taken back by a
 * start.
 */
#include "daemon/enforce.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/names.h"
#include "daemon/observe.h"
#include "daemon/published.h"
#include "daemon/roster.h"
#include "rules/compile.h"
#include "rules/workload.h"

#include "daemon/log.h"
#include "daemon/statefile.h"
#include "rules/json.h"
#include "rules/names.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FILE_NAME "names.json"
#define FILE_MAX (64u << 20)
#define TTL_MAX_NS (7 * 86400 * NSEC_PER_SEC)
/* What is only a label is kept for events that wait until everybody on the machine is known. */
#define LABEL_MIN_NS (300 * NSEC_PER_SEC)
#define DUMP_EVERY_NS (10 * NSEC_PER_SEC)
#define RESOLV_CONF_MAX 4096
/* Storing them takes no more than a fiftieth of the time. */
#define SAVE_SHARE 50
#define DNS_PORT 53

void
names_read_resolv_conf(struct controller *c, const char *text)
{
	char line[256], word[64];

	c->n_resolvers = 0;
	while (*text != '\0' && c->n_resolvers < ARRAY_SIZE(c->resolvers)) {
		size_t len = strcspn(text, "\n");
		struct addr *a = &c->resolvers[c->n_resolvers];

		snprintf(line, sizeof(line), "%.*s", (int)MIN(len, sizeof(line) - 1), text);
		if (sscanf(line, " nameserver %63[0-9a-fA-F:.]", word) == 1 &&
		    addr_parse(word, a) == 0 && !addr_is_loopback(a))
			c->n_resolvers++;
		text += len + (text[len] != '\0');
	}
}

/*
 * Engines copy the host's resolvers to containers on their default network: those that systemd
 * keeps elsewhere, if the host itself asks its loopback.
 */
static void
read_host_resolvers(struct controller *c)
{
	static const char *const files[] = { "/etc/resolv.conf",
		"/run/systemd/resolve/resolv.conf" };
	char text[RESOLV_CONF_MAX + 1];

	c->n_resolvers = 0;
	for (size_t i = 0; i < ARRAY_SIZE(files) && c->n_resolvers == 0; i++) {
		_cleanup_close_ int fd = open(files[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		ssize_t n = fd >= 0 ? read(fd, text, RESOLV_CONF_MAX) : 0;

		text[MAX(n, 0)] = '\0';
		names_read_resolv_conf(c, text);
	}
}

/* Docker's own resolver is reached by its NAT: without that, who answers there is whoever likes. */
static bool
is_engines_resolver(const struct instance *i, const struct addr *a, bool translated)
{
	static const struct addr docker = { .family = 4, .bytes = { 127, 0, 0, 11 } };

	return translated && addr_eq(a, &docker) && i->container != NULL &&
	       i->container->runtime == RUNTIME_DOCKER;
}

/* What a container answers there in the host's place is not the host's word. */
static bool
is_hosts_resolver(const struct controller *c, const struct addr *a)
{
	return c->host != NULL && instance_has_addr(c->host, a) && !published_takes(c, a, DNS_PORT);
}

static bool
is_resolver_of(const struct instance *i, const struct addr *a, bool translated)
{
	const struct controller *c = i->ctl;

	if (addr_is_loopback(a))
		return is_engines_resolver(i, a, translated);
	return addrs_contain(c->config->resolvers, c->config->n_resolvers, a) ||
	       addrs_contain(c->resolvers, c->n_resolvers, a) ||
	       (i->container != NULL && addrs_contain(i->container->dns, i->container->n_dns, a)) ||
	       is_hosts_resolver(c, a);
}

/* Does a decided edge of the workload speak of the name? */
static bool
is_wanted(const struct controller *c, const struct workload *w, const char *name)
{
	struct policy_walk walk = policy_walk_edges(c->policy, w->name);
	const struct policy_edge *e;

	while ((e = policy_walk_next(&walk)) != NULL)
		if (e->to.kind == PEER_FQDN && e->state != EDGE_PENDING &&
		    (e->from.kind != PEER_WORKLOAD || strcmp(e->from.name, w->name) == 0) &&
		    name_covers(e->to.name, name))
			return true;
	return false;
}

static uint64_t
until_of(const struct controller *c, uint32_t ttl_s)
{
	return now_mono() + MAX(MIN(ttl_s * NSEC_PER_SEC, TTL_MAX_NS), c->config->fqdn_min_ttl_ns);
}

static void
take_answer(struct instance *i, struct workload *w, const struct cap_answer *a,
    const struct addr *addrs, size_t n)
{
	struct controller *c = i->ctl;
	bool wanted = is_wanted(c, w, a->name), fresh = false;
	uint64_t until = until_of(c, a->ttl_s);

	if (w->names == NULL && name_table_new(c->seed, &w->names) < 0)
		return;
	if (!wanted)
		until = MAX(until, now_mono() + LABEL_MIN_NS);
	for (size_t k = 0; k < n; k++) {
		int r = name_table_tell(w->names, a->name, &addrs[k], wanted, now_mono(), until);

		c->names.left_out += r == -ENOSPC;
		fresh |= r == 1 && wanted;
	}
	c->names.answers++;
	if (!fresh)
		return;
	c->names.unsaved = true;
	for (struct instance *other = w->instances; other != NULL; other = other->next_of_workload)
		other->named_ns = other->named_ns != 0 ? other->named_ns : a->time_ns;
	enforce_names(w);
}

static bool
is_well_formed(const struct addr *addrs, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (!flow_addr_is_canonical(&addrs[k]))
			return false;
	return true;
}

void
names_on_answer(struct controller *c, struct msg *m)
{
	struct addr addrs[DNS_MAX_ADDRS];
	struct cap_answer a;
	struct instance *i;
	struct workload *w;
	size_t n = (m->h.body_len - sizeof(a)) / sizeof(addrs[0]);

	memcpy(&a, m->body, sizeof(a));
	memcpy(addrs, m->body + sizeof(a), n * sizeof(addrs[0]));
	a.name[sizeof(a.name) - 1] = '\0';
	i = instance_find(c, a.cookie);
	w = i != NULL ? instance_counts_as(i) : NULL;
	if (w == NULL || i->is_host)
		return;
	/* The capture role parses hostile packets: what it says is held to the same bounds. */
	if (!flow_addr_is_canonical(&a.resolver) || !is_well_formed(addrs, n) ||
	    policy_fqdn_fault(a.name) != NULL || a.name[0] == '*')
		return;
	if (!is_resolver_of(i, &a.resolver, a.translated != 0)) {
		c->names.untrusted++;
		return;
	}
	take_answer(i, w, &a, addrs, n);
}

void
names_on_applied(struct instance *i)
{
	uint64_t now = now_real();

	if (i->named_ns != 0 && now >= i->named_ns)
		histogram_add(&i->ctl->metrics.named, now - i->named_ns);
	i->named_ns = 0;
}

void
names_on_use(struct instance *i, const struct tuple *t)
{
	struct workload *w = i->workload;

	if (w != NULL && w->names != NULL)
		name_table_use(w->names, &t->dst, until_of(i->ctl, 0));
}

const char *
names_find(const struct workload *w, const struct addr *a)
{
	return w != NULL && w->names != NULL ? name_table_find(w->names, a) : NULL;
}

peer_id
names_peer(struct workload *w, struct controller *c, const struct addr *a)
{
	struct peer p = { .kind = PEER_FQDN, .name = names_find(w, a) };
	peer_id id;

	if (p.name == NULL)
		return PEER_ID_NONE;
	id = peer_lookup(c->peers, &p);
	if (id != PEER_ID_NONE || w->n_name_peers >= NAMES_MAX_PEERS ||
	    peer_intern(c->peers, &p, &id) < 0)
		return id;
	w->n_name_peers++;
	return id;
}

bool
names_match(const struct workload *w, const char *pattern, const struct addr *a)
{
	return w != NULL && w->names != NULL && name_table_matches(w->names, pattern, a);
}

void
names_on_policy(struct controller *c)
{
	for (struct workload *w = c->workloads; w != NULL; w = w->next) {
		struct name_entry *e;
		size_t pos = 0;

		while (w->names != NULL && (e = name_table_next(w->names, &pos)) != NULL) {
			bool wanted = is_wanted(c, w, e->name);

			c->names.unsaved |= e->wanted != wanted;
			name_table_want(w->names, e, wanted);
		}
	}
}

static int
name_cmp(const void *a, const void *b)
{
	return inventory_name_cmp(a, b);
}

int
names_inventory(const struct controller *c, bool all, struct inventory *inv)
{
	struct inventory_name *list;
	size_t n = 0, room = 0;

	for (const struct workload *w = c->workloads; w != NULL; w = w->next)
		room += w->names != NULL ? name_table_count(w->names) : 0;
	list = calloc(room + 1, sizeof(*list));
	inv->names = list;
	if (list == NULL)
		return -ENOMEM;
	for (const struct workload *w = c->workloads; w != NULL; w = w->next) {
		const struct name_entry *e;
		size_t pos = 0;

		while (w->names != NULL && (e = name_table_next(w->names, &pos)) != NULL) {
			if (!e->wanted && !all)
				continue;
			/* It outlives both: the next one is compared with it. */
			list[n] =
			    (struct inventory_name){ strdup(w->name), strdup(e->name), e->addr };
			inv->n_names = ++n;
			if (list[n - 1].workload == NULL || list[n - 1].name == NULL)
				return -ENOMEM;
		}
	}
	qsort(list, n, sizeof(*list), name_cmp);
	return 0;
}

void
names_inventory_done(struct inventory *inv)
{
	for (size_t i = 0; i < inv->n_names; i++) {
		free((void *)inv->names[i].workload);
		free((void *)inv->names[i].name);
	}
	free((void *)inv->names);
}

static bool
any_ended(const struct workload *w, uint64_t now)
{
	const struct name_entry *e;
	size_t pos = 0;

	while ((e = name_table_next(w->names, &pos)) != NULL)
		if (e->wanted && e->until_ns <= now)
			return true;
	return false;
}

/* True once all its connections have been looked at since. */
static bool
is_looked_at(const struct workload *w)
{
	bool all = true;

	for (struct instance *i = w->instances; i != NULL; i = i->next_of_workload) {
		if (i->attach != ATTACH_DONE || i->dumped_whole_ns > w->names_asked_ns)
			continue;
		observe_dump_to_cut(i);
		all = false;
	}
	return all;
}

static void
expire(struct controller *c, struct workload *w)
{
	uint64_t now = now_mono();
	size_t ended;

	name_table_expire(w->names, false, now);
	if (w->names_asked_ns == 0) {
		if (!any_ended(w, now) || now < w->names_next_ns)
			return;
		w->names_asked_ns = now;
	}
	if (!is_looked_at(w))
		return;
	ended = name_table_expire(w->names, true, w->names_asked_ns);
	w->names_asked_ns = 0;
	w->names_next_ns = now + MIN(DUMP_EVERY_NS, c->config->fqdn_min_ttl_ns);
	if (ended == 0)
		return;
	c->names.unsaved = true;
	enforce_schedule(c);
}

void
names_tick(struct controller *c)
{
	uint64_t began;

	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		if (w->names != NULL && c->caught_up)
			expire(c, w);
	if (!c->names.unsaved || now_mono() < c->names.save_ns)
		return;
	began = now_mono();
	names_save(c);
	c->names.save_ns = now_mono() + SAVE_SHARE * (now_mono() - began);
}

/* Run time goes by a clock that nobody sets; what is shown and stored goes by the other one. */
static uint64_t
on_calendar(const struct name_entry *e)
{
	uint64_t now = now_mono();

	return now_real() + (e->until_ns > now ? e->until_ns - now : 0);
}

static json_t *
workload_to_file(const struct workload *w)
{
	json_t *list = json_array();
	const struct name_entry *e;
	char text[ADDR_STRLEN];
	size_t pos = 0;

	while ((e = name_table_next(w->names, &pos)) != NULL)
		if (e->wanted)
			json_array_append_new(
			    list, json_pack("[s, s, I]", e->name, addr_format(&e->addr, text),
				      (json_int_t)on_calendar(e)));
	return json_pack("{s:o, s:o}", "workload", json_text(w->name), "names", list);
}

void
names_save(struct controller *c)
{
	json_t *list;
	int r;

	if (!c->names.unsaved)
		return;
	list = json_array();
	for (const struct workload *w = c->workloads; w != NULL; w = w->next)
		if (w->names != NULL)
			json_array_append_new(list, workload_to_file(w));
	r = statefile_write(c->state_dir, FILE_NAME, json_pack("{s:o}", "workloads", list));
	c->names.unsaved = r < 0;
	if (r < 0)
		log_warn(
		    "the addresses of domain names are not stored, trying again: %s", strerror(-r));
}

static void
load_one(struct controller *c, struct workload *w, const json_t *o)
{
	const char *name, *text;
	struct addr a;
	uint64_t left_s = 0;
	json_int_t until;

	if (json_unpack((json_t *)o, "[s, s, I]", &name, &text, &until) < 0 ||
	    addr_parse(text, &a) < 0 || policy_fqdn_fault(name) != NULL || name[0] == '*')
		return;
	/* At least as by an answer of now: what it was extended by since is not in the file. */
	if (until > 0 && (uint64_t)until > now_real())
		left_s = ((uint64_t)until - now_real()) / NSEC_PER_SEC;
	name_table_tell(w->names, name, &a, true, now_mono(),
	    until_of(c, (uint32_t)MIN(left_s, (uint64_t)UINT32_MAX)));
}

void
names_load(struct controller *c)
{
	json_t *o = NULL, *entry, *item;
	size_t i, k;
	int r = statefile_read(c->state_dir, FILE_NAME, FILE_MAX, &o);

	read_host_resolvers(c);
	if (r < 0 && r != -ENOENT)
		log_warn("%s cannot be read, names have to be asked for again: %s", FILE_NAME,
		    strerror(-r));
	json_array_foreach(json_object_get(o, "workloads"), i, entry)
	{
		const char *name = json_string_value(json_object_get(entry, "workload"));
		struct workload *w = name != NULL ? workload_find(c, name) : NULL;

		if (w == NULL || (w->names == NULL && name_table_new(c->seed, &w->names) < 0))
			continue;
		json_array_foreach(json_object_get(entry, "names"), k, item) load_one(c, w, item);
	}
	json_decref(o);
}

json_t *
names_to_json(const struct controller *c)
{
	json_t *list = json_array();

	for (const struct workload *w = c->workloads; w != NULL; w = w->next) {
		const struct name_entry *e;
		char text[ADDR_STRLEN];
		size_t pos = 0;

		while (w->names != NULL && (e = name_table_next(w->names, &pos)) != NULL)
			json_array_append_new(list,
			    json_pack("{s:o, s:s, s:s, s:b, s:o}", "workload", json_text(w->name),
				"name", e->name, "address", addr_format(&e->addr, text), "inPolicy",
				e->wanted, "until", json_time(on_calendar(e))));
	}
	return list;
}
