/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A datagram of the kernel's: conntrack and NFLOG messages, elements of sets that count. */
#include "netlink/ct.h"
#include "netlink/drain.h"
#include "netlink/nflog.h"
#include "netlink/nft_seen.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SIZE 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool ok)
{
	if (!ok)
		abort();
}

static void
check_tuple(const struct tuple *t)
{
	static const uint8_t zero[16];

	require(t->src.family == 4 || t->src.family == 6);
	require(t->src.family == t->dst.family);
	require(memcmp(t->zero, zero, sizeof(t->zero)) == 0);
	require(memcmp(t->src.zero, zero, sizeof(t->src.zero)) == 0);
	if (t->src.family == 4) {
		require(memcmp(t->src.bytes + 4, zero, 12) == 0);
		require(memcmp(t->dst.bytes + 4, zero, 12) == 0);
	}
}

static int
check_seen(void *arg, const struct nft_seen_entry *e)
{
	check_tuple(&e->tuple);
	require(e->tuple.src.family == *(const uint8_t *)arg);
	return 0;
}

static void
one_message(const struct nlmsghdr *nlh)
{
	const uint8_t *end = (const uint8_t *)nlh + nlh->nlmsg_len;
	struct nflog_report report;
	struct nft_seen_stats stats = { 0 };
	struct ct_entry e;
	uint8_t family;

	for (unsigned set = 0; set < NFT_SEEN_SETS; set++) {
		family = set == NFT_SEEN_CONN6 || set == NFT_SEEN_BYTE6 ? 6 : 4;
		require(nft_seen_parse(nlh, set, check_seen, &family, &stats) == 0);
	}
	if (ct_parse(nlh, &e) == 0) {
		require(e.msg >= CT_MSG_NEW && e.msg <= CT_MSG_DESTROY);
		require(e.orig.proto == e.reply.proto);
		require(e.orig.src.family == e.reply.src.family);
		check_tuple(&e.orig);
		check_tuple(&e.reply);
	}
	if (nflog_parse(nlh, &report) == 0) {
		require(report.payload > (const uint8_t *)nlh);
		require(report.payload + report.payload_len <= end);
	}
	if (nlh->nlmsg_type == NLMSG_ERROR || nlh->nlmsg_type == NLMSG_DONE)
		require(nl_message_error(nlh) <= 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct nlmsghdr *nlh;
	size_t left = size;
	uint8_t *copy;

	if (size == 0 || size > MAX_SIZE)
		return 0;
	/* A block of its own: aligned as a receive buffer is, and guarded at its end. */
	copy = malloc(size);
	if (copy == NULL)
		return 0;
	memcpy(copy, data, size);
	for (nlh = (struct nlmsghdr *)copy; nl_message_ok(nlh, left);
	     nlh = nl_message_next(nlh, &left))
		one_message(nlh);
	free(copy);
	return 0;
}
