/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See nft_watch.h. A transaction is told object by object, each with the port of the socket that
 * made it, and ends with the new generation and who that was (net/netfilter/nf_tables_api.c). In
 * every message but that one the first attribute is the table's name.
 */
#include "netlink/nft_watch.h"

#include "netlink/drain.h"
#include "netlink/netns.h"
#include "netlink/nft.h"
#include "rules/util.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <endian.h>
#include <string.h>
#include <sys/socket.h>

#define RCVBUF (256 << 10)
#define MAX_DATAGRAMS 256
#define TABLE_NAME 1 /* NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE and so on */

struct reading {
	const char *table;
	uint32_t port;
	nft_watch_fn fn;
	void *arg;
	char last[NFT_TABLE_NAME_MAX]; /* that fn was called with */
	bool ended;		       /* one that changed the table: the first is named */
	struct nft_change *change;
};

int
nft_watch_open(int nsfd)
{
	return netns_kernel_socket(nsfd, NETLINK_NETFILTER, 1u << (NFNLGRP_NFTABLES - 1), RCVBUF);
}

static void
read_generation(const struct nlmsghdr *nlh, struct nft_change *who)
{
	const struct nlattr *a;
	size_t len;

	nl_for_each_attr(a, nlh, sizeof(struct nfgenmsg))
	{
		len = nl_attr_len(a);
		if (nl_attr_type(a) == NFTA_GEN_PROC_PID && len == sizeof(uint32_t)) {
			memcpy(&who->pid, nl_attr_data(a), sizeof(who->pid));
			who->pid = be32toh(who->pid);
		} else if (nl_attr_type(a) == NFTA_GEN_PROC_NAME && len <= NFT_WATCH_PROGRAM) {
			memset(who->program, 0, sizeof(who->program));
			memcpy(who->program, nl_attr_data(a), len);
			who->program[NFT_WATCH_PROGRAM - 1] = '\0';
		}
	}
}

/* The transaction's messages of one table come in a row. */
static void
read_table(const struct nlattr *a, struct reading *r)
{
	char name[NFT_TABLE_NAME_MAX] = "";
	size_t len = strlen(r->table);

	/* A longer one than ours can be is nobody's concern. */
	if (nl_attr_len(a) > sizeof(name))
		return;
	memcpy(name, nl_attr_data(a), nl_attr_len(a));
	name[sizeof(name) - 1] = '\0';
	if (strncmp(name, r->table, len) != 0 || (name[len] != '\0' && name[len] != '_'))
		return;
	r->change->begun |= !r->ended;
	if (r->fn == NULL || strcmp(name, r->last) == 0)
		return;
	memcpy(r->last, name, sizeof(name));
	r->fn(r->arg, name);
}

/* Of the table, or of one whose name goes on after that with a "_": of a guard. */
static void
read_object(const struct nlmsghdr *nlh, struct reading *r)
{
	const struct nlattr *a;

	nl_for_each_attr(a, nlh, sizeof(struct nfgenmsg))
	{
		if (nl_attr_type(a) != TABLE_NAME)
			continue;
		read_table(a, r);
		return;
	}
}

static int
on_message(void *arg, const struct nlmsghdr *nlh)
{
	struct reading *r = arg;

	if (NFNL_SUBSYS_ID(nlh->nlmsg_type) != NFNL_SUBSYS_NFTABLES || nlh->nlmsg_pid == r->port)
		return 0;
	if (NFNL_MSG_TYPE(nlh->nlmsg_type) != NFT_MSG_NEWGEN) {
		read_object(nlh, r);
	} else if (r->change->begun) {
		r->change->begun = false;
		r->ended = true;
		read_generation(nlh, r->change);
	}
	return 0;
}

int
nft_watch_read(int sock, const char *table, uint32_t port, nft_watch_fn fn, void *arg,
    struct nft_change *change)
{
	static uint8_t buf[65536] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct reading r = { .table = table, .port = port, .fn = fn, .arg = arg, .change = change };
	uint64_t malformed = 0;
	int n = nl_drain(sock, buf, sizeof(buf), MAX_DATAGRAMS, on_message, &r, &malformed);

	if (n < 0 && n != -ENOBUFS)
		return n;
	if (n != -ENOBUFS && malformed == 0)
		return r.ended;
	if (!r.ended)
		*change = (struct nft_change){ 0 };
	change->lost = true;
	return 1;
}
