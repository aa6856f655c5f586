/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The messages of one transaction: tables, chains, sets and elements. Rules: nftsim-rule.c. */
#include "tests/diff/nftsim-parse.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_FLAGS 0x6u /* owner, persist */

int
sim_fault(struct sim_table *t, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t->fault, sizeof(t->fault), fmt, ap);
	va_end(ap);
	return err;
}

int
sim_attrs(struct sim_table *t, const void *start, size_t len, const char *what, unsigned max,
    const struct nlattr **ret)
{
	const struct nlattr *a = start;
	int left = (int)len;

	memset(ret, 0, (max + 1) * sizeof(*ret));
	for (; mnl_attr_ok(a, left); left -= (int)MNL_ALIGN(a->nla_len), a = mnl_attr_next(a)) {
		unsigned type = mnl_attr_get_type(a);

		if (type == 0 || type > max || ret[type] != NULL)
			return sim_fault(t, -EOPNOTSUPP, "%s: attribute %u", what, type);
		ret[type] = a;
	}
	return left > 0 ? sim_fault(t, -EBADMSG, "%s: %d bytes left over", what, left) : 0;
}

int
sim_nested(struct sim_table *t, const struct nlattr *nest, const char *what, unsigned max,
    const struct nlattr **ret)
{
	if (nest == NULL)
		return sim_fault(t, -EINVAL, "%s is missing", what);
	return sim_attrs(
	    t, mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), what, max, ret);
}

int
sim_only(struct sim_table *t, const struct nlattr *const *attrs, unsigned max, const char *what,
    const unsigned *known, size_t n)
{
	for (unsigned i = 1; i <= max; i++) {
		size_t k = 0;

		while (k < n && known[k] != i)
			k++;
		if (attrs[i] != NULL && k == n)
			return sim_fault(t, -EOPNOTSUPP, "%s: attribute %u", what, i);
	}
	return 0;
}

const char *
sim_str(const struct nlattr *a)
{
	/* The kernel takes strings with and without their end. A few are in use at a time. */
	static char ring[4][SIM_NAME];
	static unsigned next;
	char *text = ring[next++ % 4];
	size_t len = a == NULL ? 0 : mnl_attr_get_payload_len(a);

	if (len >= SIM_NAME)
		len = 0;
	if (len > 0)
		memcpy(text, mnl_attr_get_payload(a), len);
	text[len] = '\0';
	return text;
}

uint32_t
sim_u32(const struct nlattr *a)
{
	if (a == NULL || mnl_attr_get_payload_len(a) != 4)
		return UINT32_MAX;
	return ntohl(mnl_attr_get_u32(a));
}

int
sim_value(
    struct sim_table *t, const struct nlattr *data, size_t max, uint8_t *ret, uint32_t *ret_len)
{
	const struct nlattr *a[NFTA_DATA_MAX + 1];
	int r = sim_nested(t, data, "data", NFTA_DATA_MAX, a);
	size_t len;

	if (r < 0)
		return r;
	if (a[NFTA_DATA_VALUE] == NULL || a[NFTA_DATA_VERDICT] != NULL)
		return sim_fault(t, -EOPNOTSUPP, "data is no value");
	len = mnl_attr_get_payload_len(a[NFTA_DATA_VALUE]);
	if (len == 0 || len > max)
		return sim_fault(t, -EINVAL, "data of %zu bytes", len);
	memcpy(ret, mnl_attr_get_payload(a[NFTA_DATA_VALUE]), len);
	*ret_len = (uint32_t)len;
	return 0;
}

int
sim_find_chain(const struct sim_table *t, const char *name)
{
	for (unsigned i = 0; i < t->n_chains; i++)
		if (strcmp(t->chains[i].name, name) == 0)
			return (int)i;
	return -ENOENT;
}

int
sim_find_set(const struct sim_table *t, const char *name)
{
	for (unsigned i = 0; i < t->n_sets; i++)
		if (strcmp(t->sets[i].name, name) == 0)
			return (int)i;
	return -ENOENT;
}

int
sim_find_counter(const struct sim_table *t, const char *name)
{
	for (unsigned i = 0; i < t->n_counters; i++)
		if (strcmp(t->counters[i], name) == 0)
			return (int)i;
	return -ENOENT;
}

void
sim_done(struct sim_table *t)
{
	for (unsigned i = 0; i < t->n_sets; i++)
		free(t->sets[i].elems);
	memset(t, 0, sizeof(*t));
}

void
sim_copy(struct sim_table *to, const struct sim_table *from)
{
	memcpy(to, from, sizeof(*to));
	for (unsigned i = 0; i < to->n_sets; i++) {
		struct sim_set *s = &to->sets[i];

		s->cap = s->n + 1;
		s->elems = malloc(s->cap * sizeof(*s->elems));
		if (s->elems == NULL)
			abort();
		if (s->n > 0)
			memcpy(s->elems, from->sets[i].elems, s->n * sizeof(*s->elems));
	}
}

static int
new_table(struct sim_table *t, const struct nlattr *const *a)
{
	static const unsigned known[] = { NFTA_TABLE_NAME, NFTA_TABLE_FLAGS };
	int r = sim_only(t, a, NFTA_TABLE_MAX, "table", known, 2);

	if (r < 0)
		return r;
	t->present = true;
	t->flags = sim_u32(a[NFTA_TABLE_FLAGS]);
	snprintf(t->name, sizeof(t->name), "%s", sim_str(a[NFTA_TABLE_NAME]));
	return (t->flags & ~TABLE_FLAGS) != 0 ? sim_fault(t, -EINVAL, "table flags") : 0;
}

static int
new_chain(struct sim_table *t, const struct nlattr *const *a)
{
	static const unsigned known[] = { NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK,
		NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE };
	const struct nlattr *h[NFTA_HOOK_MAX + 1];
	int i = sim_find_chain(t, sim_str(a[NFTA_CHAIN_NAME])), r;
	struct sim_chain *c;

	r = sim_only(t, a, NFTA_CHAIN_MAX, "chain", known, 5);
	if (r < 0)
		return r;
	if (i < 0 && t->n_chains == SIM_CHAINS)
		return sim_fault(t, -E2BIG, "chains");
	c = &t->chains[i < 0 ? t->n_chains++ : (unsigned)i];
	snprintf(c->name, sizeof(c->name), "%s", sim_str(a[NFTA_CHAIN_NAME]));
	if (a[NFTA_CHAIN_HOOK] == NULL)
		return 0;
	r = sim_nested(t, a[NFTA_CHAIN_HOOK], "hook", NFTA_HOOK_MAX, h);
	if (r < 0)
		return r;
	if (strcmp(sim_str(a[NFTA_CHAIN_TYPE]), "filter") != 0)
		return sim_fault(t, -EOPNOTSUPP, "chain type");
	if (i >= 0 && c->hook != sim_u32(h[NFTA_HOOK_HOOKNUM]))
		return sim_fault(t, -EEXIST, "hook of %s changes", c->name);
	c->base = true;
	c->hook = sim_u32(h[NFTA_HOOK_HOOKNUM]);
	c->priority = (int32_t)sim_u32(h[NFTA_HOOK_PRIORITY]);
	/* What the kernel takes when nothing is said. */
	if (a[NFTA_CHAIN_POLICY] == NULL)
		c->policy = i < 0 ? NF_ACCEPT : c->policy;
	else
		c->policy = sim_u32(a[NFTA_CHAIN_POLICY]);
	return c->policy > NF_ACCEPT ? sim_fault(t, -EINVAL, "policy") : 0;
}

static int
set_fields(struct sim_table *t, struct sim_set *s, const struct nlattr *desc)
{
	const struct nlattr *d[NFTA_SET_DESC_MAX + 1], *f;
	uint32_t total = 0;
	unsigned n = 0;
	int r = sim_nested(t, desc, "description", NFTA_SET_DESC_MAX, d);

	if (r < 0)
		return r;
	s->size = sim_u32(d[NFTA_SET_DESC_SIZE]);
	if (d[NFTA_SET_DESC_CONCAT] == NULL)
		return s->interval ? sim_fault(t, -EOPNOTSUPP, "interval without fields") : 0;
	mnl_attr_for_each_nested(f, d[NFTA_SET_DESC_CONCAT])
	{
		const struct nlattr *len[NFTA_SET_FIELD_MAX + 1];

		r = sim_nested(t, f, "field", NFTA_SET_FIELD_MAX, len);
		if (r < 0)
			return r;
		if (n == SIM_FIELDS || sim_u32(len[NFTA_SET_FIELD_LEN]) > 16)
			return sim_fault(t, -EOPNOTSUPP, "fields of %s", s->name);
		s->fields[n] = (uint8_t)MNL_ALIGN(sim_u32(len[NFTA_SET_FIELD_LEN]));
		total += s->fields[n++];
	}
	return n != SIM_FIELDS || total != s->key_len
		   ? sim_fault(t, -EINVAL, "fields of %s do not make its key", s->name)
		   : 0;
}

static int
new_set(struct sim_table *t, const struct nlattr *const *a)
{
	static const unsigned known[] = { NFTA_SET_TABLE, NFTA_SET_NAME, NFTA_SET_FLAGS,
		NFTA_SET_KEY_TYPE, NFTA_SET_KEY_LEN, NFTA_SET_ID, NFTA_SET_DESC, NFTA_SET_EXPR,
		NFTA_SET_EXPRESSIONS };
	uint32_t flags = a[NFTA_SET_FLAGS] == NULL ? 0 : sim_u32(a[NFTA_SET_FLAGS]);
	struct sim_set *s;
	int r = sim_only(t, a, NFTA_SET_MAX, "set", known, sizeof(known) / sizeof(known[0]));

	if (r < 0)
		return r;
	if (t->n_sets == SIM_SETS || sim_find_set(t, sim_str(a[NFTA_SET_NAME])) >= 0)
		return sim_fault(t, -EEXIST, "set %s", sim_str(a[NFTA_SET_NAME]));
	if ((flags & ~(NFT_SET_INTERVAL | NFT_SET_CONCAT)) != 0)
		return sim_fault(t, -EOPNOTSUPP, "set flags %x", flags);
	s = &t->sets[t->n_sets++];
	snprintf(s->name, sizeof(s->name), "%s", sim_str(a[NFTA_SET_NAME]));
	s->key_len = sim_u32(a[NFTA_SET_KEY_LEN]);
	s->interval = (flags & NFT_SET_INTERVAL) != 0;
	if (s->key_len > SIM_KEY)
		return sim_fault(t, -EOPNOTSUPP, "key of %s", s->name);
	return set_fields(t, s, a[NFTA_SET_DESC]);
}

static int
elem_read(
    struct sim_table *t, const struct sim_set *s, const struct nlattr *nest, struct sim_elem *ret)
{
	static const unsigned known[] = { NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_KEY_END };
	const struct nlattr *a[NFTA_SET_ELEM_MAX + 1];
	uint32_t len = 0, end_len = s->key_len;
	int r = sim_nested(t, nest, "element", NFTA_SET_ELEM_MAX, a);

	memset(ret, 0, sizeof(*ret));
	if (r == 0)
		r = sim_only(t, a, NFTA_SET_ELEM_MAX, "element", known, 2);
	if (r == 0)
		r = sim_value(t, a[NFTA_SET_ELEM_KEY], SIM_KEY, ret->key, &len);
	if (r == 0 && s->interval)
		r = sim_value(t, a[NFTA_SET_ELEM_KEY_END], SIM_KEY, ret->end, &end_len);
	if (r < 0)
		return r;
	if (len != s->key_len || end_len != len || (!s->interval && a[NFTA_SET_ELEM_KEY_END]))
		return sim_fault(t, -EINVAL, "element of %s", s->name);
	return 0;
}

static bool
elems_overlap(const struct sim_set *s, const struct sim_elem *a, const struct sim_elem *b)
{
	unsigned f, at;

	if (!s->interval)
		return memcmp(a->key, b->key, s->key_len) == 0;
	for (f = at = 0; f < SIM_FIELDS; at += s->fields[f++])
		if (memcmp(a->key + at, b->end + at, s->fields[f]) > 0 ||
		    memcmp(b->key + at, a->end + at, s->fields[f]) > 0)
			return false;
	return true;
}

/* What is there already is no error; what overlaps it otherwise is. */
static int
elem_add(struct sim_table *t, struct sim_set *s, const struct sim_elem *e)
{
	for (size_t i = 0; i < s->n; i++) {
		if (memcmp(&s->elems[i], e, sizeof(*e)) == 0)
			return 0;
		if (elems_overlap(s, &s->elems[i], e))
			return sim_fault(t, -ENOTEMPTY, "elements of %s overlap", s->name);
	}
	if (s->n == s->size)
		return sim_fault(t, -ENFILE, "%s is full", s->name);
	if (s->n == s->cap) {
		s->cap = s->cap * 2 + 16;
		s->elems = realloc(s->elems, s->cap * sizeof(*s->elems));
		if (s->elems == NULL)
			abort();
	}
	s->elems[s->n++] = *e;
	return 0;
}

static int
elem_delete(struct sim_table *t, struct sim_set *s, const struct sim_elem *e)
{
	for (size_t i = 0; i < s->n; i++) {
		if (memcmp(&s->elems[i], e, sizeof(*e)) != 0)
			continue;
		s->elems[i] = s->elems[--s->n];
		return 0;
	}
	return sim_fault(t, -ENOENT, "no such element in %s", s->name);
}

static int
elems_message(struct sim_table *t, const struct nlattr *const *a, bool add)
{
	int set = sim_find_set(t, sim_str(a[NFTA_SET_ELEM_LIST_SET])), r;
	const struct nlattr *nest;
	struct sim_elem e;

	if (set < 0 || a[NFTA_SET_ELEM_LIST_ELEMENTS] == NULL || a[NFTA_SET_ELEM_LIST_SET_ID])
		return sim_fault(t, -ENOENT, "set of elements");
	mnl_attr_for_each_nested(nest, a[NFTA_SET_ELEM_LIST_ELEMENTS])
	{
		r = elem_read(t, &t->sets[set], nest, &e);
		if (r == 0)
			r = add ? elem_add(t, &t->sets[set], &e)
				: elem_delete(t, &t->sets[set], &e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
flush_rules(struct sim_table *t, const struct nlattr *const *a)
{
	static const unsigned known[] = { NFTA_RULE_TABLE };
	int r = sim_only(t, a, NFTA_RULE_MAX, "deletion of rules", known, 1);

	for (unsigned i = 0; r == 0 && i < t->n_chains; i++)
		t->chains[i].n = 0;
	return r;
}

static int
new_counter(struct sim_table *t, const struct nlattr *const *a)
{
	const char *name = sim_str(a[NFTA_OBJ_NAME]);

	if (sim_u32(a[NFTA_OBJ_TYPE]) != NFT_OBJECT_COUNTER || t->n_counters == SIM_COUNTERS)
		return sim_fault(t, -EOPNOTSUPP, "object");
	if (sim_find_counter(t, name) < 0)
		snprintf(t->counters[t->n_counters++], SIM_NAME, "%s", name);
	return 0;
}

/* Rules know sets by their place: the twins of a change come last, and none asks them any more. */
static int
del_set(struct sim_table *t, const struct nlattr **a)
{
	int set = sim_find_set(t, sim_str(a[NFTA_SET_NAME]));

	if (set < 0)
		return sim_fault(t, -ENOENT, "set %s", sim_str(a[NFTA_SET_NAME]));
	free(t->sets[set].elems);
	t->n_sets--;
	memmove(&t->sets[set], &t->sets[set + 1], (t->n_sets - (unsigned)set) * sizeof(t->sets[0]));
	memset(&t->sets[t->n_sets], 0, sizeof(t->sets[0]));
	return 0;
}

static int
message(struct sim_table *t, const struct nlmsghdr *h)
{
	static const unsigned max[NFT_MSG_MAX] = { [NFT_MSG_NEWTABLE] = NFTA_TABLE_MAX,
		[NFT_MSG_NEWCHAIN] = NFTA_CHAIN_MAX,
		[NFT_MSG_NEWRULE] = NFTA_RULE_MAX,
		[NFT_MSG_DELRULE] = NFTA_RULE_MAX,
		[NFT_MSG_NEWSET] = NFTA_SET_MAX,
		[NFT_MSG_DELSET] = NFTA_SET_MAX,
		[NFT_MSG_NEWSETELEM] = NFTA_SET_ELEM_LIST_MAX,
		[NFT_MSG_DELSETELEM] = NFTA_SET_ELEM_LIST_MAX,
		[NFT_MSG_NEWOBJ] = NFTA_OBJ_MAX };
	const struct nlattr *a[64];
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(h);
	unsigned type = h->nlmsg_type & 0xff;
	int r;

	if (h->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || type >= NFT_MSG_MAX || max[type] == 0 ||
	    max[type] >= 64)
		return sim_fault(t, -EOPNOTSUPP, "message %x", h->nlmsg_type);
	if (mnl_nlmsg_get_payload_len(h) < sizeof(*g) || g->nfgen_family != NFPROTO_INET)
		return sim_fault(t, -EOPNOTSUPP, "family");
	r = sim_attrs(t, g + 1, mnl_nlmsg_get_payload_len(h) - sizeof(*g), "message", max[type], a);
	if (r < 0)
		return r;
	if (!t->present && type != NFT_MSG_NEWTABLE)
		return sim_fault(t, -ENOENT, "no table");
	/* The first attribute names the table in every message. */
	if (t->present && strcmp(sim_str(a[1]), t->name) != 0)
		return sim_fault(t, -ENOENT, "another table: %s", sim_str(a[1]));
	switch (type) {
	case NFT_MSG_NEWTABLE:
		return new_table(t, a);
	case NFT_MSG_NEWCHAIN:
		return new_chain(t, a);
	case NFT_MSG_NEWRULE:
		return sim_new_rule(t, a, (h->nlmsg_flags & NLM_F_APPEND) != 0);
	case NFT_MSG_DELRULE:
		return flush_rules(t, a);
	case NFT_MSG_NEWSET:
		return new_set(t, a);
	case NFT_MSG_DELSET:
		return del_set(t, a);
	case NFT_MSG_NEWOBJ:
		return new_counter(t, a);
	default:
		return elems_message(t, a, type == NFT_MSG_NEWSETELEM);
	}
}

int
sim_feed(struct sim_table *t, const void *buf, size_t len)
{
	const struct nlmsghdr *h = buf;
	int left = (int)len, r = 0;
	bool open = false;

	for (; r == 0 && mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
		if (h->nlmsg_type == NFNL_MSG_BATCH_BEGIN)
			open = true;
		else if (h->nlmsg_type == NFNL_MSG_BATCH_END)
			open = false;
		else if (!open)
			return sim_fault(t, -EINVAL, "a message outside a transaction");
		else
			r = message(t, h);
	}
	if (r == 0 && (open || left > 0))
		return sim_fault(t, -EINVAL, "the transaction has no end");
	return r;
}
