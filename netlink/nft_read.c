/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel holds, and the digest of it.
 *
 * The canonical form is a sorted list of text lines (table, chains, rules, sets, objects,
 * flowtables), each ended by a newline, then the elements of our sets in binary, sorted. The same
 * functions print a dumped object and one that was built, so that the digest of what was meant can
 * be computed without the kernel. Left out: counters, handles, declared set sizes, and owner and
 * persist, which change at the owner's death.
 */
#include "netlink/nft_internal.h"

#include "rules/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <libmnl/libmnl.h>
#include <libnftnl/expr.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>

/* Bounds on what a table may hold: an unowned one is anyone's to fill. */
#define LINES_MAX 100000u
#define ELEMS_MAX (2u * RULESET_MAX_ELEMENTS)
#define LINE_SIZE 2048
#define READ_TRIES 8

struct scan {
	const char *table;
	struct nft_inventory inv;
	struct nft_names lines;
	char rule_chain[256];
	unsigned rule_index;
	uint32_t n_rules;
	uint64_t dropped;
	size_t elems_cap;
	unsigned set; /* being read */
};

static void
names_done(struct nft_names *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct nft_names){ 0 };
}

static int
names_add(struct nft_names *l, const char *text)
{
	char **grown;

	if (l->n >= LINES_MAX)
		return -E2BIG;
	/* Doubles at every power of two. */
	if ((l->n & (l->n - 1)) == 0) {
		grown = realloc(l->v, MAX(l->n * 2, (size_t)4) * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		l->v = grown;
	}
	l->v[l->n] = strdup(text);
	if (l->v[l->n] == NULL)
		return -ENOMEM;
	l->n++;
	return 0;
}

void
nft_inventory_done(struct nft_inventory *inv)
{
	names_done(&inv->chains);
	names_done(&inv->sets);
	names_done(&inv->objs);
	names_done(&inv->flowtables);
	nft_elems_done(&inv->elems);
}

static void
scan_done(struct scan *s)
{
	nft_inventory_done(&s->inv);
	names_done(&s->lines);
}

static bool
str_is(const char *a, const char *b)
{
	return a != NULL && strcmp(a, b) == 0;
}

static const char *
str_or(const char *s, const char *other)
{
	return s != NULL ? s : other;
}

/* Canonical text, of a dumped object or of one that was built. */

static int
line_table(struct nft_names *lines, uint32_t flags)
{
	char line[64];

	snprintf(
	    line, sizeof(line), "table flags %x", flags & ~(NFT_FLAG_OWNER | NFT_FLAG_PERSIST));
	return names_add(lines, line);
}

static int
line_chain(struct nft_names *lines, const struct nftnl_chain *c)
{
	const char *name = str_or(nftnl_chain_get_str(c, NFTNL_CHAIN_NAME), "");
	char line[LINE_SIZE];

	if (!nftnl_chain_is_set(c, NFTNL_CHAIN_HOOKNUM))
		snprintf(line, sizeof(line), "chain %s", name);
	else
		snprintf(line, sizeof(line), "chain %s type %s hook %u prio %d policy %u", name,
		    str_or(nftnl_chain_get_str(c, NFTNL_CHAIN_TYPE), "?"),
		    nftnl_chain_get_u32(c, NFTNL_CHAIN_HOOKNUM),
		    nftnl_chain_get_s32(c, NFTNL_CHAIN_PRIO),
		    nftnl_chain_get_u32(c, NFTNL_CHAIN_POLICY));
	return names_add(lines, line);
}

struct rule_text {
	char line[LINE_SIZE];
	size_t len;
};

static int
rule_text_expr(struct nftnl_expr *e, void *arg)
{
	struct rule_text *t = arg;
	const char *name = nftnl_expr_get_str(e, NFTNL_EXPR_NAME);
	char text[512] = "";

	if (!str_is(name, "counter"))
		nftnl_expr_snprintf(
		    text, sizeof(text), e, NFTNL_OUTPUT_DEFAULT, NFTNL_OF_EVENT_ANY);
	if (t->len < sizeof(t->line))
		t->len += (size_t)snprintf(t->line + t->len, sizeof(t->line) - t->len, " [%s %s]",
		    str_or(name, "?"), text);
	return 0;
}

/* Rules come chain by chain, in their order; the index makes the order part of the text. */
static int
line_rule(struct scan *s, const struct nftnl_rule *r)
{
	const char *chain = str_or(nftnl_rule_get_str(r, NFTNL_RULE_CHAIN), "");
	struct rule_text t;

	if (strcmp(chain, s->rule_chain) != 0) {
		snprintf(s->rule_chain, sizeof(s->rule_chain), "%s", chain);
		s->rule_index = 0;
	}
	t.len = (size_t)snprintf(t.line, sizeof(t.line), "rule %s %06u", chain, s->rule_index++);
	nftnl_expr_foreach((struct nftnl_rule *)r, rule_text_expr, &t);
	s->n_rules++;
	return names_add(&s->lines, t.line);
}

static void
set_text(const struct nftnl_set *set, char line[static LINE_SIZE])
{
	snprintf(line, LINE_SIZE, "set %s flags %x key %x/%u data %x timeout %" PRIu64,
	    str_or(nftnl_set_get_str(set, NFTNL_SET_NAME), ""),
	    nftnl_set_get_u32(set, NFTNL_SET_FLAGS), nftnl_set_get_u32(set, NFTNL_SET_KEY_TYPE),
	    nftnl_set_get_u32(set, NFTNL_SET_KEY_LEN), nftnl_set_get_u32(set, NFTNL_SET_DATA_TYPE),
	    nftnl_set_is_set(set, NFTNL_SET_TIMEOUT) ? nftnl_set_get_u64(set, NFTNL_SET_TIMEOUT)
						     : 0);
}

static int
line_set(struct nft_names *lines, const struct nftnl_set *set)
{
	char line[LINE_SIZE];

	set_text(set, line);
	return names_add(lines, line);
}

/* The number of one of our sets, or NFT_N_SETS. */
static unsigned
set_by_name(const char *name)
{
	unsigned set;

	for (set = 0; set < NFT_N_SETS; set++)
		if (str_is(name, nft_set_shape(set)->name))
			break;
	return set;
}

static int
line_obj(struct nft_names *lines, uint32_t type, const char *name)
{
	char line[LINE_SIZE];

	snprintf(line, sizeof(line), "object %u %s", type, name);
	return names_add(lines, line);
}

static int
text_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
digest_of(
    struct nft_names *lines, const struct nft_elems *elems, uint8_t ret[static RULESET_DIGEST_LEN])
{
	struct sha256_ctx ctx;
	size_t i;

	sha256_init(&ctx);
	if (lines->n > 0)
		qsort(lines->v, lines->n, sizeof(*lines->v), text_cmp);
	for (i = 0; i < lines->n; i++) {
		sha256_update(&ctx, strlen(lines->v[i]), (const uint8_t *)lines->v[i]);
		sha256_update(&ctx, 1, (const uint8_t *)"\n");
	}
	if (elems->n > 0)
		sha256_update(&ctx, elems->n * sizeof(*elems->v), (const uint8_t *)elems->v);
	sha256_digest(&ctx, RULESET_DIGEST_LEN, ret);
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
	nftnl_table_free(t);
	return line_table(&s->lines, s->inv.flags);
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
	else if (str_is(nftnl_chain_get_str(c, NFTNL_CHAIN_TABLE), s->table)) {
		r = names_add(&s->inv.chains, str_or(nftnl_chain_get_str(c, NFTNL_CHAIN_NAME), ""));
		if (r == 0)
			r = line_chain(&s->lines, c);
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
		r = names_add(&s->lines, "rule ? unreadable");
	} else if (str_is(nftnl_rule_get_str(rule, NFTNL_RULE_TABLE), s->table)) {
		r = line_rule(s, rule);
	}
	nftnl_rule_free(rule);
	return r;
}

static int
scan_set(struct scan *s, const struct nftnl_set *set)
{
	const char *name = str_or(nftnl_set_get_str(set, NFTNL_SET_NAME), "");
	unsigned ours = set_by_name(name);
	char have[LINE_SIZE], want[LINE_SIZE];
	struct nftnl_set *built;
	int r;

	/* An anonymous set goes with its rule. */
	if (!(nftnl_set_get_u32(set, NFTNL_SET_FLAGS) & NFT_SET_ANONYMOUS)) {
		r = names_add(&s->inv.sets, name);
		if (r < 0)
			return r;
	}
	set_text(set, have);
	if (ours < NFT_N_SETS) {
		built = nft_set_build(s->table, ours, 1);
		if (built == NULL)
			return -ENOMEM;
		set_text(built, want);
		nftnl_set_free(built);
		if (strcmp(have, want) == 0)
			s->inv.size[ours] = nftnl_set_get_u32(set, NFTNL_SET_DESC_SIZE);
	}
	return names_add(&s->lines, have);
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
	else if (str_is(nftnl_set_get_str(set, NFTNL_SET_TABLE), s->table))
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

	for (i = 0; type == NFT_OBJECT_COUNTER && i < NFT_N_COUNTERS; i++)
		if (str_is(name, nft_counter_names[i]))
			s->dropped += nftnl_obj_get_u64((struct nftnl_obj *)o, NFTNL_OBJ_CTR_PKTS);
	snprintf(typed, sizeof(typed), "%c%s", (char)type, name);
	r = names_add(&s->inv.objs, typed);
	if (r < 0)
		return r;
	return line_obj(&s->lines, type, name);
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
	else if (str_is(nftnl_obj_get_str(o, NFTNL_OBJ_TABLE), s->table))
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
	char line[LINE_SIZE];
	struct scan *s = arg;
	struct nlattr *a;
	int r;

	mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) == NFTA_FLOWTABLE_TABLE)
			table = attr_str(a);
		else if (mnl_attr_get_type(a) == NFTA_FLOWTABLE_NAME)
			name = attr_str(a);
	}
	if (!str_is(table, s->table) || name == NULL)
		return 0;
	r = names_add(&s->inv.flowtables, name);
	if (r < 0)
		return r;
	snprintf(line, sizeof(line), "flowtable %s", name);
	return names_add(&s->lines, line);
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

	mnl_attr_for_each_nested(a, nest)
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

	mnl_attr_for_each_nested(a, nest)
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

	mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(elem, a)
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
		.family = NFPROTO_INET,
		.flags = NLM_F_DUMP,
		.attr = { table_attr },
		.value = { s->table },
	};

	return nft_query(sock, &q, fn, s);
}

/* Names and shapes: everything but rules and elements. */
static int
scan_names(struct scan *s, int sock)
{
	const struct nft_query get = {
		.type = NFT_MSG_GETTABLE,
		.family = NFPROTO_INET,
		.attr = { NFTA_TABLE_NAME },
		.value = { s->table },
	};
	int r;

	r = nft_query(sock, &get, on_table, s);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	/* This dump knows no filter. */
	r = scan_dump(s, sock, NFT_MSG_GETCHAIN, 0, on_chain);
	if (r < 0)
		return r;
	r = scan_dump(s, sock, NFT_MSG_GETSET, NFTA_SET_TABLE, on_set);
	if (r < 0)
		return r;
	r = scan_dump(s, sock, NFT_MSG_GETOBJ, NFTA_OBJ_TABLE, on_obj);
	if (r < 0)
		return r;
	return scan_dump(s, sock, NFT_MSG_GETFLOWTABLE, NFTA_FLOWTABLE_TABLE, on_flowtable);
}

static int
scan_elems(struct scan *s, int sock)
{
	size_t i;
	int r;

	for (i = 0; i < s->inv.sets.n; i++) {
		const struct nft_query q = {
			.type = NFT_MSG_GETSETELEM,
			.family = NFPROTO_INET,
			.flags = NLM_F_DUMP,
			.attr = { NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET },
			.value = { s->table, s->inv.sets.v[i] },
		};

		s->set = set_by_name(s->inv.sets.v[i]);
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
scan_retry(struct scan *s, const char *table, int sock, int (*fn)(struct scan *, int))
{
	unsigned i;
	int r = -EINTR;

	for (i = 0; i < READ_TRIES && r == -EINTR; i++) {
		scan_done(s);
		*s = (struct scan){ .table = table };
		r = fn(s, sock);
	}
	return r;
}

int
nft_inventory_read(int sock, const char *table, struct nft_inventory *ret)
{
	_cleanup_(scan_done) struct scan s = { 0 };
	int r;

	r = scan_retry(&s, table, sock, scan_objects);
	if (r < 0)
		return r;
	*ret = s.inv;
	s.inv = (struct nft_inventory){ 0 };
	return 0;
}

int
nft_state_read(int sock, const char *table, struct nft_state *ret)
{
	_cleanup_(scan_done) struct scan s = { 0 };
	struct nft_state state = { 0 };
	int r;

	r = scan_retry(&s, table, sock, scan_all);
	if (r < 0)
		return r;
	if (s.inv.present) {
		digest_of(&s.lines, &s.inv.elems, state.digest);
		state.present = true;
		state.n_rules = s.n_rules;
		state.n_elems = (uint32_t)s.inv.elems.n;
		state.dropped = s.dropped;
	}
	*ret = state;
	return 0;
}

static int
expect_objects(struct scan *s, const struct nft_modes *m)
{
	unsigned i;
	int r;

	r = line_table(&s->lines, 0);
	for (i = 0; r == 0 && i < NFT_N_COUNTERS; i++)
		r = line_obj(&s->lines, NFT_OBJECT_COUNTER, nft_counter_names[i]);
	for (i = 0; r == 0 && i < NFT_N_CHAINS; i++) {
		struct nftnl_chain *c = nft_chain_build(s->table, i, m);

		if (c == NULL)
			return -ENOMEM;
		r = line_chain(&s->lines, c);
		nftnl_chain_free(c);
	}
	for (i = 0; r == 0 && i < NFT_N_SETS; i++) {
		struct nftnl_set *set = nft_set_build(s->table, i, 1);

		if (set == NULL)
			return -ENOMEM;
		r = line_set(&s->lines, set);
		nftnl_set_free(set);
	}
	return r;
}

int
nft_digest_expected(const char *table, uint16_t group, const struct nft_modes *m,
    const struct nft_elems *elems, uint8_t ret[static RULESET_DIGEST_LEN])
{
	_cleanup_(scan_done) struct scan s = { .table = table };
	_cleanup_(nft_rules_done) struct nft_rules rules = { 0 };
	size_t i;
	int r;

	r = expect_objects(&s, m);
	if (r < 0)
		return r;
	r = nft_rules_build(table, group, m, &rules);
	for (i = 0; r == 0 && i < rules.n; i++)
		r = line_rule(&s, rules.v[i]);
	if (r < 0)
		return r;
	digest_of(&s.lines, elems, ret);
	return 0;
}
