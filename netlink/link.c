/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See link.h. A veth names its peer by ifindex and by the number that the namespace asked from has
 * for the peer's namespace; the kernel gives out that number when it first has to tell it.
 */
#include "netlink/link.h"

#include "netlink/drain.h"
#include "netlink/netns.h"
#include "rules/util.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define BUF_SIZE 32768
#define MAX_DATAGRAMS 64
#define ANSWER_MS 2000

int
link_open(void)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int on = 1, r;

	if (fd < 0)
		return -errno;
	/* Else a dump of addresses pays no heed to the namespace it is to be of. */
	if (setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on)) < 0)
		return -errno;
	r = sock_kernel_only(fd);
	return r < 0 ? r : steal_fd(&fd);
}

static int
open_group(uint32_t groups)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK, .nl_groups = groups };

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return steal_fd(&fd);
}

int
link_open_events(void)
{
	return open_group(RTMGRP_LINK);
}

int
link_open_numbers(void)
{
	return open_group(1u << (RTNLGRP_NSID - 1));
}

static void
changes_add(struct link_changes *c, uint32_t ifindex)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->ifindex[i] == ifindex)
			return;
	if (c->n == LINK_CHANGES_MAX)
		c->all = true;
	else
		c->ifindex[c->n++] = ifindex;
}

static int
on_event(void *arg, const struct nlmsghdr *nlh)
{
	struct link_changes *c = arg;
	struct link_info l;

	if ((nlh->nlmsg_type != RTM_NEWLINK && nlh->nlmsg_type != RTM_DELLINK) ||
	    link_parse(nlh, &l) < 0)
		return 0;
	changes_add(c, l.ifindex);
	/* It may have gone to another namespace, of which its other end is told nothing. */
	if (nlh->nlmsg_type == RTM_DELLINK && l.peer != 0)
		changes_add(c, l.peer);
	return 0;
}

int
link_events_read(int sock, struct link_changes *ret)
{
	uint8_t buf[BUF_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	uint64_t malformed = 0;
	int r = nl_drain(sock, buf, sizeof(buf), MAX_DATAGRAMS, on_event, ret, &malformed);

	ret->all |= r == -ENOBUFS || malformed > 0;
	if (r < 0 && r != -ENOBUFS)
		return r;
	return ret->all || ret->n > 0;
}

/* What a program has asked to be numbered, as we do, has no link by that. */
static int
on_number(void *arg, const struct nlmsghdr *nlh)
{
	bool *any = arg;

	*any |= nlh->nlmsg_type == RTM_NEWNSID && nlh->nlmsg_pid == 0;
	return 0;
}

int
link_numbers_read(int sock)
{
	uint8_t buf[BUF_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	uint64_t malformed = 0;
	bool any = false;
	int r = nl_drain(sock, buf, sizeof(buf), MAX_DATAGRAMS, on_number, &any, &malformed);

	if (r < 0 && r != -ENOBUFS)
		return r;
	return r == -ENOBUFS || any;
}

struct answer {
	uint32_t seq;
	bool done, disturbed;
	int error;
	struct link_info *links;
	size_t n, cap;
	int32_t nsid;
	struct rtnl_addr *addrs;
	size_t n_addrs, max_addrs;
};

static void
answer_done(struct answer *w)
{
	free(w->links);
}

/* Kinds that lead to wherever a process or a socket of another namespace is. */
static bool
leaves_unseen(const struct nlattr *kind)
{
	static const char *const kinds[] = { "tun", "wireguard" };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (nl_attr_len(kind) >= strlen(kinds[i]) &&
		    memcmp(nl_attr_data(kind), kinds[i], strlen(kinds[i])) == 0)
			return true;
	return false;
}

static void
link_kind(const struct nlattr *info, bool *ret_inside, bool *ret_veth)
{
	const struct nlattr *a;

	nl_for_each_nested(a, info)
	{
		if (nl_attr_type(a) != IFLA_INFO_KIND)
			continue;
		*ret_inside = !leaves_unseen(a);
		*ret_veth = nl_attr_len(a) >= 4 && memcmp(nl_attr_data(a), "veth", 4) == 0;
	}
}

static void
link_attr(struct link_info *l, const struct nlattr *a, bool *ret_inside, bool *ret_away)
{
	size_t len = nl_attr_len(a);

	switch (nl_attr_type(a)) {
	case IFLA_LINK:
		if (len == sizeof(l->peer))
			memcpy(&l->peer, nl_attr_data(a), len);
		break;
	case IFLA_LINK_NETNSID:
		*ret_away = true;
		if (len == sizeof(l->nsid))
			memcpy(&l->nsid, nl_attr_data(a), len);
		break;
	case IFLA_ADDRESS:
		l->has_mac = len == LINK_MAC_LEN;
		if (l->has_mac)
			memcpy(l->mac, nl_attr_data(a), len);
		break;
	case IFLA_IFNAME:
		memcpy(l->name, nl_attr_data(a), MIN(len, sizeof(l->name) - 1));
		break;
	case IFLA_LINKINFO:
		link_kind(a, ret_inside, &l->veth);
		break;
	}
}

int
link_parse(const struct nlmsghdr *nlh, struct link_info *ret)
{
	struct link_info l = { .nsid = -1 };
	const struct ifinfomsg *ifi;
	const struct nlattr *a;
	bool inside = false, away = false;

	if (nlh->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(*ifi))
		return -EBADMSG;
	ifi = mnl_nlmsg_get_payload(nlh);
	l.ifindex = (uint32_t)ifi->ifi_index;
	l.flags = ifi->ifi_flags;
	nl_for_each_attr(a, nlh, sizeof(*ifi)) link_attr(&l, a, &inside, &away);
	l.leaves = away || (!inside && ifi->ifi_type != ARPHRD_LOOPBACK);
	*ret = l;
	return 0;
}

static int
on_link(struct answer *w, const struct nlmsghdr *nlh)
{
	struct link_info l;
	int r = link_parse(nlh, &l);

	if (r < 0)
		return r;
	if (w->n == LINKS_MAX)
		return -E2BIG;
	if (w->n == w->cap) {
		size_t cap = MAX(16, 2 * w->cap);
		struct link_info *grown = reallocarray(w->links, cap, sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		w->links = grown;
		w->cap = cap;
	}
	w->links[w->n++] = l;
	return 0;
}

static void
on_addr(struct answer *w, const struct nlmsghdr *nlh)
{
	struct rtnl_addr a;

	if (w->n_addrs < w->max_addrs && rtnl_addr_parse(nlh, &a) && !addr_is_loopback(&a.addr))
		w->addrs[w->n_addrs++] = a;
}

static void
on_nsid(struct answer *w, const struct nlmsghdr *nlh)
{
	const struct nlattr *a;

	nl_for_each_attr(a, nlh, sizeof(struct rtgenmsg))
	{
		if (nl_attr_type(a) == NETNSA_NSID && nl_attr_len(a) == sizeof(w->nsid))
			memcpy(&w->nsid, nl_attr_data(a), sizeof(w->nsid));
	}
	w->done = true;
}

static int
on_answer(void *arg, const struct nlmsghdr *nlh)
{
	struct answer *w = arg;

	if (nlh->nlmsg_seq != w->seq)
		return 0;
	w->disturbed |= (nlh->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
	switch (nlh->nlmsg_type) {
	case NLMSG_DONE:
	case NLMSG_ERROR:
		w->done = true;
		w->error = nl_message_error(nlh);
		return 0;
	case RTM_NEWLINK:
		w->done |= (nlh->nlmsg_flags & NLM_F_MULTI) == 0;
		return on_link(w, nlh);
	case RTM_NEWADDR:
		on_addr(w, nlh);
		return 0;
	case RTM_NEWNSID:
		on_nsid(w, nlh);
		return 0;
	default:
		return 0;
	}
}

static int
ask(int sock, struct nlmsghdr *nlh, struct answer *w)
{
	static uint32_t seq;
	uint8_t buf[BUF_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct pollfd p = { .fd = sock, .events = POLLIN };
	uint64_t malformed = 0;
	int r;

	w->seq = nlh->nlmsg_seq = ++seq;
	r = nl_send(sock, nlh, 0);
	if (r < 0)
		return r;
	while (!w->done) {
		r = poll(&p, 1, ANSWER_MS);
		if (r == 0)
			return -ETIMEDOUT;
		if (r < 0 && errno != EINTR)
			return -errno;
		r = nl_drain(sock, buf, sizeof(buf), MAX_DATAGRAMS, on_answer, w, &malformed);
		if (r < 0 || malformed > 0)
			return r < 0 ? r : -EBADMSG;
	}
	return w->error < 0 ? w->error : w->disturbed ? -EINTR : 0;
}

int
link_dump(int sock, int32_t nsid, struct link_info **ret, size_t *ret_n)
{
	uint8_t buf[64] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	_cleanup_(answer_done) struct answer w = { 0 };
	int r;

	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	if (nsid >= 0)
		mnl_attr_put_u32(nlh, IFLA_TARGET_NETNSID, (uint32_t)nsid);
	r = ask(sock, nlh, &w);
	if (r < 0)
		return r;
	*ret = steal_ptr(w.links);
	*ret_n = w.n;
	return 0;
}

int
link_get(int sock, uint32_t ifindex, struct link_info *ret)
{
	uint8_t buf[64] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	_cleanup_(answer_done) struct answer w = { 0 };
	struct ifinfomsg *ifi;
	int r;

	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = (int)ifindex;
	mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	r = ask(sock, nlh, &w);
	if (r == 0 && w.n != 1)
		r = -EBADMSG;
	if (r == 0)
		*ret = w.links[0];
	return r;
}

int
link_addrs(int sock, int32_t nsid, struct rtnl_addr *ret, size_t max, size_t *ret_n)
{
	uint8_t buf[64] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	_cleanup_(answer_done) struct answer w = { .addrs = ret, .max_addrs = max };
	int r;

	nlh->nlmsg_type = RTM_GETADDR;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifaddrmsg));
	mnl_attr_put_u32(nlh, IFA_TARGET_NETNSID, (uint32_t)nsid);
	r = ask(sock, nlh, &w);
	if (r == 0)
		*ret_n = w.n_addrs;
	return r;
}

static int
nsid_request(int sock, uint16_t type, int nsfd, int32_t *ret)
{
	uint8_t buf[64] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	_cleanup_(answer_done) struct answer w = { .nsid = -1 };
	int r;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | (type == RTM_NEWNSID ? NLM_F_ACK : 0);
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct rtgenmsg));
	mnl_attr_put_u32(nlh, NETNSA_FD, (uint32_t)nsfd);
	if (type == RTM_NEWNSID)
		mnl_attr_put_u32(nlh, NETNSA_NSID, (uint32_t)-1);
	r = ask(sock, nlh, &w);
	if (r == 0)
		*ret = w.nsid;
	return r;
}

int
link_nsid(int sock, int nsfd, int32_t *ret)
{
	int32_t nsid = -1;
	int r = nsid_request(sock, RTM_GETNSID, nsfd, &nsid);

	if (r == 0 && nsid < 0) {
		r = nsid_request(sock, RTM_NEWNSID, nsfd, &nsid);
		if (r == 0 || r == -EEXIST)
			r = nsid_request(sock, RTM_GETNSID, nsfd, &nsid);
	}
	if (r < 0)
		return r;
	if (nsid < 0)
		return -ENOENT;
	*ret = nsid;
	return 0;
}
