/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The addresses of a namespace, kept current.
 *
 * On libmnl, not libnl: the socket is a handed one, shared with the process that opened it, and
 * libnl can read without blocking only by setting O_NONBLOCK on that shared file; it believes any
 * sender; and it costs half a megabyte of code for three attributes.
 *
 * A dump and the changes arrive on one socket in the kernel's order, so each message is applied as
 * it comes. Entries carry the number of the dump that saw them last; when a dump ends, older ones
 * are gone. A dump that was disturbed (NLM_F_DUMP_INTR, an overrun) proves nothing about absence:
 * it removes nothing and is asked for again.
 */
#include "netlink/rtnl.h"

#include "netlink/drain.h"
#include "netlink/netns.h"
#include "rules/util.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

/* A dump's parts are made to fit the buffer they are read into. */
#define BUF_SIZE 16384
#define MAX_DATAGRAMS 64

struct entry {
	struct rtnl_addr a;
	uint32_t dump;
};

struct rtnl_watch {
	int fd;
	uint32_t seq; /* of the last dump asked for */
	bool dumping, disturbed, ready;
	bool changed;
	struct entry *entries; /* all but loopback, sorted */
	size_t n;
	struct rtnl_addr *shown; /* what the caller sees, as of the last read */
	size_t n_shown;
};

int
rtnl_open(int nsfd)
{
	return netns_kernel_socket(nsfd, NETLINK_ROUTE, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR, 0);
}

static int
ask_dump(struct rtnl_watch *w)
{
	uint8_t buf[64] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct ifaddrmsg *ifa;
	struct nlmsghdr *nlh;
	int r;

	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = RTM_GETADDR;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = ++w->seq;
	ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	ifa->ifa_family = AF_UNSPEC;
	r = nl_send(w->fd, nlh, 0);
	if (r < 0)
		return r;
	w->dumping = true;
	w->disturbed = false;
	return 0;
}

int
rtnl_watch_new(int sock, struct rtnl_watch **ret)
{
	struct rtnl_watch *w;
	int r;

	w = calloc(1, sizeof(*w));
	if (w == NULL) {
		close(sock);
		return -ENOMEM;
	}
	w->fd = sock;
	r = ask_dump(w);
	if (r < 0) {
		rtnl_watch_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void
rtnl_watch_free(struct rtnl_watch *w)
{
	if (w == NULL)
		return;
	close(w->fd);
	free(w->entries);
	free(w->shown);
	free(w);
}

int
rtnl_watch_fd(const struct rtnl_watch *w)
{
	return w->fd;
}

static int
entry_cmp(const struct rtnl_addr *a, const struct rtnl_addr *b)
{
	int r = addr_cmp(&a->addr, &b->addr);

	if (r == 0)
		r = (a->ifindex > b->ifindex) - (a->ifindex < b->ifindex);
	if (r == 0)
		r = (a->prefix_len > b->prefix_len) - (a->prefix_len < b->prefix_len);
	return r;
}

/* Where a is, or where it belongs. */
static size_t
entry_place(const struct rtnl_watch *w, const struct rtnl_addr *a, bool *ret_found)
{
	size_t lo = 0, hi = w->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (entry_cmp(&w->entries[mid].a, a) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret_found = lo < w->n && entry_cmp(&w->entries[lo].a, a) == 0;
	return lo;
}

static int
entry_put(struct rtnl_watch *w, const struct rtnl_addr *a)
{
	struct entry *grown;
	bool found;
	size_t at;

	at = entry_place(w, a, &found);
	if (found) {
		w->changed = w->changed || w->entries[at].a.tentative != a->tentative;
		w->entries[at].a = *a;
		w->entries[at].dump = w->seq;
		return 0;
	}
	if (w->n == RTNL_MAX_ADDRS)
		return 0;
	grown = reallocarray(w->entries, w->n + 1, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	w->entries = grown;
	memmove(&grown[at + 1], &grown[at], (w->n - at) * sizeof(*grown));
	grown[at] = (struct entry){ .a = *a, .dump = w->seq };
	w->n++;
	w->changed = true;
	return 0;
}

static void
entry_remove(struct rtnl_watch *w, const struct rtnl_addr *a)
{
	bool found;
	size_t at;

	at = entry_place(w, a, &found);
	if (!found)
		return;
	memmove(&w->entries[at], &w->entries[at + 1], (w->n - at - 1) * sizeof(*w->entries));
	w->n--;
	w->changed = true;
}

static void
dump_end(struct rtnl_watch *w, const struct nlmsghdr *nlh)
{
	size_t kept = 0;

	w->dumping = false;
	if ((nlh->nlmsg_flags & NLM_F_DUMP_INTR) != 0 || nl_message_error(nlh) < 0)
		w->disturbed = true;
	if (w->disturbed)
		return;
	for (size_t i = 0; i < w->n; i++)
		if (w->entries[i].dump == w->seq)
			w->entries[kept++] = w->entries[i];
	w->changed = w->changed || kept != w->n || !w->ready;
	w->n = kept;
	w->ready = true;
}

/* The family of the packets: an IPv4-mapped IPv6 address is no claim to the IPv4 address. */
static bool
parse_addr(const struct nlattr *a, uint8_t family, struct addr *ret)
{
	const uint16_t len = family == AF_INET ? 4 : 16;

	if (nl_attr_len(a) != len)
		return false;
	memset(ret, 0, sizeof(*ret));
	ret->family = family == AF_INET ? 4 : 6;
	memcpy(ret->bytes, nl_attr_data(a), len);
	return true;
}

bool
rtnl_addr_parse(const struct nlmsghdr *nlh, struct rtnl_addr *ret)
{
	struct rtnl_addr a = { 0 };
	struct addr local = { 0 }, address = { 0 };
	const struct ifaddrmsg *ifa;
	const struct nlattr *attr;
	uint32_t flags;
	bool ok = true;

	if (nlh->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(*ifa))
		return false;
	ifa = mnl_nlmsg_get_payload(nlh);
	if (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6)
		return false;
	flags = ifa->ifa_flags;
	nl_for_each_attr(attr, nlh, sizeof(*ifa))
	{
		switch (nl_attr_type(attr)) {
		case IFA_LOCAL:
			ok = parse_addr(attr, ifa->ifa_family, &local);
			break;
		case IFA_ADDRESS:
			ok = parse_addr(attr, ifa->ifa_family, &address);
			break;
		case IFA_FLAGS:
			ok = nl_attr_len(attr) == sizeof(flags);
			if (ok)
				flags = mnl_attr_get_u32(attr);
			break;
		}
		if (!ok)
			return false;
	}
	/* With a peer IFA_ADDRESS is the peer's; without one IPv6 has no IFA_LOCAL. */
	a.addr = local.family != 0 ? local : address;
	if (a.addr.family == 0)
		return false;
	a.prefix_len = ifa->ifa_prefixlen;
	a.ifindex = ifa->ifa_index;
	a.tentative = (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) != 0;
	*ret = a;
	return true;
}

static int
on_message(void *arg, const struct nlmsghdr *nlh)
{
	struct rtnl_watch *w = arg;
	struct rtnl_addr a;

	switch (nlh->nlmsg_type) {
	case NLMSG_DONE:
	case NLMSG_ERROR:
		if (w->dumping && nlh->nlmsg_seq == w->seq)
			dump_end(w, nlh);
		return 0;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		break;
	default:
		return 0;
	}
	if (w->dumping && nlh->nlmsg_seq == w->seq && (nlh->nlmsg_flags & NLM_F_DUMP_INTR) != 0)
		w->disturbed = true;
	if (!rtnl_addr_parse(nlh, &a) || addr_is_loopback(&a.addr))
		return 0;
	if (nlh->nlmsg_type == RTM_NEWADDR)
		return entry_put(w, &a);
	entry_remove(w, &a);
	return 0;
}

static int
refresh_shown(struct rtnl_watch *w)
{
	struct rtnl_addr *shown;

	shown = reallocarray(w->shown, MAX(w->n, 1), sizeof(*shown));
	if (shown == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < w->n; i++)
		shown[i] = w->entries[i].a;
	w->shown = shown;
	w->n_shown = w->n;
	return 0;
}

int
rtnl_watch_read(struct rtnl_watch *w)
{
	uint8_t buf[BUF_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	uint64_t malformed = 0;
	int r;

	w->changed = false;
	r = nl_drain(w->fd, buf, sizeof(buf), MAX_DATAGRAMS, on_message, w, &malformed);
	if (r == -ENOBUFS || malformed > 0)
		w->disturbed = true;
	else if (r < 0)
		return r;
	if (w->disturbed && !w->dumping) {
		r = ask_dump(w);
		/* EBUSY: the kernel is still at the last dump; its end is read later. */
		if (r < 0 && r != -EBUSY && r != -ENOBUFS)
			return r;
	}
	if (!w->changed)
		return 0;
	r = refresh_shown(w);
	return r < 0 ? r : 1;
}

bool
rtnl_watch_ready(const struct rtnl_watch *w)
{
	return w->ready;
}

const struct rtnl_addr *
rtnl_watch_addrs(const struct rtnl_watch *w, size_t *ret_n)
{
	*ret_n = w->n_shown;
	return w->shown;
}
