/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dumps of what the kernel holds, ours and foreign alike, into lines, names and elements. */
#include "netlink/drain.h"
#include "netlink/nft_internal.h"

#include "rules/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A bound on what a table may hold: an unowned one is anyone's to fill. */
#define ELEMS_MAX (2u * RULESET_MAX_ELEMENTS)
#define READ_TRIES 8
#define READ_S 1

struct scan {
	const struct nft_target *target;
	struct nft_inventory inv;
	struct nft_text text;
	uint32_t n_rules;
	uint64_t dropped[NFT_N_COUNTERS];
	uint32_t in_use, met; /* chains, sets, objects and flowtables: told and seen */
	bool foreign;	      /* reading the chains that are not ours */
	size_t elems_cap;
	unsigned set; /* being read */
};

void
nft_inventory_done(struct nft_inventory *inv)
{
	nft_names_done(&inv->chains);
	nft_names_done(&inv->sets);
	nft_names_done(&inv->objs);
	nft_names_done(&inv->flowtables);
	nft_elems_done(&inv->elems);
}

static void
scan_done(struct scan *s)
{
	nft_inventory_done(&s->inv);
	nft_text_done(&s->text);
}

static const char *
str_or(const char *s, const char *other)
{
	return s != NULL ? s : other;
}

static bool
str_is(const char *a, const char *b)
{
	return a != NULL && strcmp(a, b) == 0;
}

/* The number of one of our sets, or NFT_N_SETS. */
static unsigned
set_by_name(const struct nft_kind *kind, const char *name)
{
	unsigned set;

	for (set = 0; set < kind->n_sets; set++)
		if (str_is(name, nft_set_shape(set)->name))
			return set;
	return NFT_N_SETS;
}

/* Dumps. */

static int
on_table(void *arg, const struct nlmsghdr *nlh)
{
	struct scan *s = arg;
	struct nftnl_table *t = nftnl_table_alloc();

	if (t == NULL)
		return -ENOMEM;
	if (nftnl_table_nlmsg_parse(nlh, t) < 0) {
		nftnl_table_free(t);
		return -EBADMSG;
	}
	s->inv.present = true;
	s->inv.flags = nftnl_table_get_u32(t, NFTNL_TABLE_FLAGS);
	if (nftnl_table_is_set(t, NFTNL_TABLE_OWNER))
		s->inv.owner = nftnl_table_get_u32(t, NFTNL_TABLE_OWNER);
	s->in_use = nftnl_table_get_u32(t, NFTNL_TABLE_USE);
	nftnl_table_free(t);
	return nft_text_table(&s->text, s->inv.flags);
}

static bool
chain_is_ours(const struct nft_kind *kind, const char *name)
{
	for (size_t i = 0; i < kind->n_chains; i++)
		if (str_is(name, kind->chains[i]))
			return true;
	return false;
}

static int
on_chain(void *arg, const struct nlmsghdr *nlh)
{
	struct scan *s = arg;
	struct nftnl_chain *c = nftnl_chain_alloc();
	int r = 0;

	if (c == NULL)
		return -ENOMEM;
	if (nftnl_chain_nlmsg_parse(nlh, c) < 0)
		r = -EBADMSG;
	else if (str_is(nftnl_chain_get_str(c, NFTNL_CHAIN_TABLE), s->target->name) &&
		 !(s->foreign &&
		     chain_is_ours(s->target->kind, nftnl_chain_get_str(c, NFTNL_CHAIN_NAME)))) {
		s->met++;
		r = nft_names_add(
		    &s->inv.chains, str_or(nftnl_chain_get_str(c, NFTNL_CHAIN_NAME), ""));
		if (r == 0)
			r = nft_text_chain(&s->text, c);
	}
	nftnl_chain_free(c);
	return r;
}

static int
on_rule(void *arg, const struct nlmsghdr *nlh)
{
	struct scan *s = arg;
	struct nftnl_rule *rule = nftnl_rule_alloc();
	int r = 0;

	if (rule == NULL)
		return -ENOMEM;
	/* Not ours if the library cannot read it: it counts as a rule without a known text. */
	if (nftnl_rule_nlmsg_parse(nlh, rule) < 0) {
		s->n_rules++;
		r = nft_names_add(&s->text.lines, "rule ? unreadable");
	} else if (str_is(nftnl_rule_get_str(rule, NFTNL_RULE_TABLE), s->target->name)) {
		s->n_rules++;
		r = nft_text_rule(&s->text, rule);
	}
	nftnl_rule_free(rule);
	return r;
}

static int
scan_set(struct scan *s, const struct nftnl_set *set)
{
	const char *name = str_or(nftnl_set_get_str(set, NFTNL_SET_NAME), "");
	unsigned ours = set_by_name(s->target->kind, name);
	int r;

	s->met++;
	/* An anonymous set goes with its rule. */
	if (!(nftnl_set_get_u32(set, NFTNL_SET_FLAGS) & NFT_SET_ANONYMOUS)) {
		r = nft_names_add(&s->inv.sets, name);
		if (r < 0)
			return r;
	}
	if (ours < NFT_N_SETS && nft_set_as_built(s->target, ours, set))
		s->inv.size[ours] = nftnl_set_get_u32(set, NFTNL_SET_DESC_SIZE);
	return nft_text_set(&s->text, set);
}

static int
on_set(void *arg, const struct nlmsghdr *nlh)
{
	struct scan *s = arg;
	struct nftnl_set *set = nftnl_set_alloc();
	int r = 0;

	if (set == NULL)
		return -ENOMEM;
	if (nftnl_set_nlmsg_parse(nlh, set) < 0)
		r = -EBADMSG;
	else if (str_is(nftnl_set_get_str(set, NFTNL_SET_TABLE), s->target->name))
		r = scan_set(s, set);
	nftnl_set_free(set);
	return r;
}

static int
scan_obj(struct scan *s, const struct nftnl_obj *o)
{
	const char *name = str_or(nftnl_obj_get_str((struct nftnl_obj *)o, NFTNL_OBJ_NAME), "");
	uint32_t type = nftnl_obj_get_u32((struct nftnl_obj *)o, NFTNL_OBJ_TYPE);
	char typed[NFT_NAME_MAXLEN + 1];
	size_t i;
	int r;

	s->met++;
	for (i = 0; type == NFT_OBJECT_COUNTER && i < NFT_N_COUNTERS; i++)
		if (str_is(name, s->target->kind->counters[i]))
			s->dropped[i] +=
			    nftnl_obj_get_u64((struct nftnl_obj *)o, NFTNL_OBJ_CTR_PKTS);
	snprintf(typed, sizeof(typed), "%c%s", (char)type, name);
	r = nft_names_add(&s->inv.objs, typed);
	if (r < 0)
		return r;
	return nft_text_obj(&s->text, type, name);
}

static int
on_obj(void *arg, const struct nlmsghdr *nlh)
{
	struct scan *s = arg;
	struct nftnl_obj *o = nftnl_obj_alloc();
	int r = 0;

	if (o == NULL)
		return -ENOMEM;
	if (nftnl_obj_nlmsg_parse(nlh, o) < 0)
		r = -EBADMSG;
	else if (str_is(nftnl_obj_get_str(o, NFTNL_OBJ_TABLE), s->target->name))
		r = scan_obj(s, o);
	nftnl_obj_free(o);
	return r;
}

/* A string attribute of a message, if it is one. */
static const char *
attr_str(const struct nlattr *a)
{
	return mnl_attr_validate(a, MNL_TYPE_NUL_STRING) < 0 ? NULL : mnl_attr_get_str(a);
}

static int
on_flowtable(void *arg, const struct nlmsghdr *nlh)
{
	const char *table = NULL, *name = NULL;
	char line[NFT_NAME_MAXLEN + 16];
	struct scan *s = arg;
	const struct nlattr *a;
	int r;

	nl_for_each_attr(a, nlh, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) == NFTA_FLOWTABLE_TABLE)
			table = attr_str(a);
		else if (mnl_attr_get_type(a) == NFTA_FLOWTABLE_NAME)
			name = attr_str(a);
	}
	if (!str_is(table, s->target->name) || name == NULL)
		return 0;
	s->met++;
	r = nft_names_add(&s->inv.flowtables, name);
	if (r < 0)
		return r;
	snprintf(line, sizeof(line), "flowtable %s", name);
	return nft_names_add(&s->text.lines, line);
}

static int
elems_add(struct scan *s, const struct nft_elem *e)
{
	struct nft_elem *grown;
	size_t cap;

	if (s->inv.elems.n >= ELEMS_MAX)
		return -E2BIG;
	if (s->inv.elems.n == s->elems_cap) {
		cap = s->elems_cap > 0 ? s->elems_cap * 2 : 256;
		grown = realloc(s->inv.elems.v, cap * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		s->inv.elems.v = grown;
		s->elems_cap = cap;
	}
	s->inv.elems.v[s->inv.elems.n++] = *e;
	return 0;
}

static void
elem_key(const struct nlattr *nest, uint8_t *ret)
{
	const struct nlattr *a;

	nl_for_each_nested(a, nest)
	{
		if (mnl_attr_get_type(a) == NFTA_DATA_VALUE)
			memcpy(ret, mnl_attr_get_payload(a),
			    MIN((size_t)mnl_attr_get_payload_len(a), (size_t)NFT_KEY_MAX));
	}
}

static int
on_elem(struct scan *s, const struct nlattr *nest)
{
	struct nft_elem e = { .set = (uint8_t)s->set };
	const struct nlattr *a;

	nl_for_each_nested(a, nest)
	{
		switch (mnl_attr_get_type(a)) {
		case NFTA_SET_ELEM_KEY:
			elem_key(a, e.key);
			break;
		case NFTA_SET_ELEM_KEY_END:
			elem_key(a, e.end);
			break;
		case NFTA_SET_ELEM_FLAGS:
			/* Ours have none: a catch-all must not look like the zero key. */
			e.set = 0xff;
			s->inv.size[s->set] = 0;
			break;
		}
	}
	if (e.set < NFT_N_SETS)
		nft_elem_finish(&e);
	return elems_add(s, &e);
}

static int
on_elems(void *arg, const struct nlmsghdr *nlh)
{
	const struct nlattr *a, *elem;
	struct scan *s = arg;
	int r;

	nl_for_each_attr(a, nlh, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		nl_for_each_nested(elem, a)
		{
			r = on_elem(s, elem);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int
scan_dump(struct scan *s, int sock, uint16_t type, uint16_t table_attr, nft_msg_fn fn)
{
	const struct nft_query q = {
		.type = type,
		.family = s->target->kind->family,
		.flags = NLM_F_DUMP,
		.attr = { table_attr },
		.value = { s->target->name },
	};

	return nft_query(sock, &q, fn, s);
}

/*
 * Our chains by name: the kernel's dump of chains knows no filter, and the namespace's root may
 * have made a hundred thousand elsewhere. The table's use count tells whether there are more in it,
 * which takes a table that is not ours alone; only then all are read.
 */
static int
scan_chains(struct scan *s, int sock)
{
	struct nft_query q = {
		.type = NFT_MSG_GETCHAIN,
		.family = s->target->kind->family,
		.attr = { NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME },
		.value = { s->target->name },
	};
	int r;

	for (size_t i = 0; i < s->target->kind->n_chains; i++) {
		q.value[1] = s->target->kind->chains[i];
		r = nft_query(sock, &q, on_chain, s);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	if (s->met == s->in_use)
		return 0;
	s->foreign = true;
	return scan_dump(s, sock, NFT_MSG_GETCHAIN, 0, on_chain);
}

static int
scan_table(struct scan *s, int sock)
{
	const struct nft_query get = {
		.type = NFT_MSG_GETTABLE,
		.family = s->target->kind->family,
		.attr = { NFTA_TABLE_NAME },
		.value = { s->target->name },
	};
	int r = nft_query(sock, &get, on_table, s);

	return r == -ENOENT ? 0 : r;
}

/* Names and shapes: everything but rules and elements. */
static int
scan_names(struct scan *s, int sock)
{
	int r = scan_table(s, sock);

	if (r < 0 || !s->inv.present)
		return r;
	r = scan_dump(s, sock, NFT_MSG_GETSET, NFTA_SET_TABLE, on_set);
	if (r < 0)
		return r;
	r = scan_dump(s, sock, NFT_MSG_GETOBJ, NFTA_OBJ_TABLE, on_obj);
	if (r < 0)
		return r;
	r = scan_dump(s, sock, NFT_MSG_GETFLOWTABLE, NFTA_FLOWTABLE_TABLE, on_flowtable);
	return r < 0 ? r : scan_chains(s, sock);
}

static int
scan_elems(struct scan *s, int sock)
{
	size_t i;
	int r;

	for (i = 0; i < s->inv.sets.n; i++) {
		const struct nft_query q = {
			.type = NFT_MSG_GETSETELEM,
			.family = s->target->kind->family,
			.flags = NLM_F_DUMP,
			.attr = { NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET },
			.value = { s->target->name, s->inv.sets.v[i] },
		};

		s->set = set_by_name(s->target->kind, s->inv.sets.v[i]);
		/* The name of a foreign set is in the digest already. */
		if (s->set == NFT_N_SETS)
			continue;
		r = nft_query(sock, &q, on_elems, s);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Everything but rules. */
static int
scan_objects(struct scan *s, int sock)
{
	int r = scan_names(s, sock);

	if (r < 0 || !s->inv.present)
		return r;
	r = scan_elems(s, sock);
	nft_elems_sort(&s->inv.elems);
	return r;
}

static int
scan_all(struct scan *s, int sock)
{
	int r = scan_objects(s, sock);

	if (r < 0 || !s->inv.present)
		return r;
	return scan_dump(s, sock, NFT_MSG_GETRULE, NFTA_RULE_TABLE, on_rule);
}

/* A dump that a transaction crossed is no picture of any moment: again. */
static int
scan_retry(struct scan *s, const struct nft_target *target, int sock, int (*fn)(struct scan *, int))
{
	struct timespec start, now = { 0 };
	unsigned i;
	int r = -EINTR;

	clock_gettime(CLOCK_MONOTONIC, &start);
	now = start;
	/* Whoever changes anything in the namespace all the time crosses every long dump. */
	for (i = 0; i < READ_TRIES && r == -EINTR && now.tv_sec - start.tv_sec <= READ_S; i++) {
		scan_done(s);
		*s = (struct scan){ .target = target };
		r = fn(s, sock);
		clock_gettime(CLOCK_MONOTONIC, &now);
	}
	return r;
}

int
nft_inventory_read(int sock, const struct nft_target *target, struct nft_inventory *ret)
{
	_cleanup_(scan_done) struct scan s = { 0 };
	int r;

	r = scan_retry(&s, target, sock, scan_objects);
	if (r < 0)
		return r;
	*ret = s.inv;
	s.inv = (struct nft_inventory){ 0 };
	return 0;
}

int
nft_state_read(int sock, const struct nft_target *target, struct nft_state *ret)
{
	_cleanup_(scan_done) struct scan s = { 0 };
	struct nft_state state = { 0 };
	int r;

	r = scan_retry(&s, target, sock, scan_all);
	if (r < 0)
		return r;
	if (s.inv.present) {
		nft_text_digest(&s.text, &s.inv.elems, state.digest);
		state.present = true;
		state.n_rules = s.n_rules;
		state.n_elems = (uint32_t)s.inv.elems.n;
		for (size_t i = 0; i < NFT_N_COUNTERS; i++)
			state.dropped += s.dropped[i];
	}
	*ret = state;
	return 0;
}

int
nft_owner_read(int sock, const struct nft_target *target, uint32_t *ret_port)
{
	_cleanup_(scan_done) struct scan s = { .target = target };
	int r = scan_table(&s, sock);

	if (r == 0)
		*ret_port = s.inv.owner;
	return r;
}

int
nft_refused_read(int sock, const struct nft_target *target, uint64_t ret[static NFT_N_COUNTERS])
{
	_cleanup_(scan_done) struct scan s = { .target = target };
	int r = scan_dump(&s, sock, NFT_MSG_GETOBJ, NFTA_OBJ_TABLE, on_obj);

	if (r == 0)
		memcpy(ret, s.dropped, sizeof(s.dropped));
	return r;
}
