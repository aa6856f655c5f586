/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The reader's half of nft_seen.h: dumps of sets into entries, every length checked. */
#include "netlink/nft_seen.h"

#include "netlink/drain.h"
#include "rules/util.h"

#include <endian.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

struct reading {
	enum nft_seen_set set;
	nft_seen_fn fn;
	void *arg;
	struct nft_seen_stats *stats;
	bool done;
	int error;
};

static uint16_t
get_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Fields begin at multiples of four bytes, see load_key() of nft_seen.c. */
static bool
parse_key(const struct nlattr *nest, enum nft_seen_set set, struct tuple *ret)
{
	const bool v6 = nft_seen_is_v6(set), conn = nft_seen_is_conn(set);
	const size_t len = v6 ? 16 : 4, want = 2 * len + (conn ? 12 : 8);
	struct tuple t = { 0 };
	const struct nlattr *a;
	const uint8_t *key;

	nl_for_each_nested(a, nest)
	{
		if (nl_attr_type(a) != NFTA_DATA_VALUE)
			continue;
		if (nl_attr_len(a) != want)
			return false;
		key = nl_attr_data(a);
		t.src.family = t.dst.family = v6 ? 6 : 4;
		memcpy(t.src.bytes, key, len);
		memcpy(t.dst.bytes, key + len, len);
		key += 2 * len;
		t.proto = key[0];
		if (proto_has_port(t.proto) || proto_is_icmp(t.proto))
			t.dport = get_be16(key + 4);
		if (conn && proto_has_port(t.proto))
			t.sport = get_be16(key + 8);
		*ret = t;
		return true;
	}
	return false;
}

static bool
parse_u64(const struct nlattr *a, uint64_t *ret)
{
	uint64_t v;

	if (nl_attr_len(a) != sizeof(v))
		return false;
	memcpy(&v, nl_attr_data(a), sizeof(v));
	*ret = be64toh(v);
	return true;
}

/* The one expression of an element is its counter. */
static bool
parse_counter(const struct nlattr *nest, struct nft_seen_entry *e)
{
	const struct nlattr *a, *c;

	nl_for_each_nested(a, nest)
	{
		if (nl_attr_type(a) != NFTA_EXPR_DATA)
			continue;
		nl_for_each_nested(c, a)
		{
			if (nl_attr_type(c) == NFTA_COUNTER_BYTES && !parse_u64(c, &e->bytes))
				return false;
			if (nl_attr_type(c) == NFTA_COUNTER_PACKETS && !parse_u64(c, &e->packets))
				return false;
		}
	}
	return true;
}

static int
parse_elem(const struct nlattr *nest, enum nft_seen_set set, nft_seen_fn fn, void *arg,
    struct nft_seen_stats *stats)
{
	struct nft_seen_entry e = { 0 };
	const struct nlattr *a;
	bool has_key = false;

	nl_for_each_nested(a, nest)
	{
		if (nl_attr_type(a) == NFTA_SET_ELEM_KEY)
			has_key = parse_key(a, set, &e.tuple);
		else if (nl_attr_type(a) == NFTA_SET_ELEM_EXPR && !parse_counter(a, &e))
			has_key = false;
	}
	if (!has_key) {
		stats->malformed++;
		return 0;
	}
	stats->entries++;
	return fn(arg, &e);
}

int
nft_seen_parse(const struct nlmsghdr *nlh, enum nft_seen_set set, nft_seen_fn fn, void *arg,
    struct nft_seen_stats *stats)
{
	const struct nlattr *a, *elem;
	int r;

	if (nlh->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM) ||
	    nlh->nlmsg_len < NLMSG_HDRLEN + sizeof(struct nfgenmsg)) {
		stats->malformed++;
		return 0;
	}
	nl_for_each_attr(a, nlh, sizeof(struct nfgenmsg))
	{
		if (nl_attr_type(a) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		nl_for_each_nested(elem, a)
		{
			r = parse_elem(elem, set, fn, arg, stats);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int
on_message(void *arg, const struct nlmsghdr *nlh)
{
	struct reading *r = arg;

	if (nlh->nlmsg_type != NLMSG_DONE && nlh->nlmsg_type != NLMSG_ERROR)
		return nft_seen_parse(nlh, r->set, r->fn, r->arg, r->stats);
	r->done = true;
	r->error = nl_message_error(nlh);
	return 0;
}

int
nft_seen_recv(int sock, void *buf, size_t size, unsigned max_messages, enum nft_seen_set set,
    nft_seen_fn fn, void *arg, struct nft_seen_stats *stats, bool *ret_done, int *ret_error)
{
	struct reading r = { .set = set, .fn = fn, .arg = arg, .stats = stats };
	int rc = nl_drain(sock, buf, size, max_messages, on_message, &r, &stats->malformed);

	*ret_done = r.done;
	*ret_error = r.error;
	return MIN(rc, 0);
}
