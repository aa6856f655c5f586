/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading netlink sockets without blocking: what every reader of a kernel socket must not forget.
 * And what is sent to the kernel.
 */
#ifndef NANOSEG_NETLINK_DRAIN_H
#define NANOSEG_NETLINK_DRAIN_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Called per message, nlmsg_len bytes of it are there; a negative value stops and is returned. */
typedef int (*nl_message_fn)(void *arg, const struct nlmsghdr *nlh);

/*
 * Reads at most max datagrams into buf (aligned like a nlmsghdr) and calls fn for each message. 0,
 * fn's negative value, or a negative errno (-ENOBUFS: an overrun; what came before it has been
 * passed on). *malformed counts datagrams that were cut short or end in garbage. Only the kernel's
 * datagrams count: whoever has CAP_NET_ADMIN in a socket's namespace can send to its port.
 */
int nl_drain(int sock, void *buf, size_t size, unsigned max, nl_message_fn fn, void *arg,
    uint64_t *malformed);

/*
 * The same with as many datagrams a system call as there is room for in buf, each in a slot of its
 * own (a multiple of 8 bytes, at most size). A datagram longer than a slot is cut short. fn's
 * negative value loses what else came with the same call.
 */
#define NL_SLOTS_MAX 32
int nl_drain_slots(int sock, void *buf, size_t size, size_t slot, unsigned max, nl_message_fn fn,
    void *arg, uint64_t *malformed);

/*
 * A whole message at the front of left bytes. Not mnl_nlmsg_ok(), which takes a length over 2 GB
 * for a negative one, and so for one that fits.
 */
static inline bool
nl_message_ok(const struct nlmsghdr *nlh, size_t left)
{
	return left >= sizeof(*nlh) && nlh->nlmsg_len >= sizeof(*nlh) && nlh->nlmsg_len <= left;
}

/* The one after a whole message; *left becomes what remains. */
static inline const struct nlmsghdr *
nl_message_next(const struct nlmsghdr *nlh, size_t *left)
{
	const size_t step = NLMSG_ALIGN((size_t)nlh->nlmsg_len);

	if (step >= *left) {
		*left = 0;
		return nlh;
	}
	*left -= step;
	return (const struct nlmsghdr *)((const char *)nlh + step);
}

static inline const char *
nl_message_end(const struct nlmsghdr *nlh)
{
	return (const char *)nlh + nlh->nlmsg_len;
}

/*
 * Attributes, inline: libmnl's are calls into a shared library, four for each attribute, which made
 * up most of the cost of a conntrack event.
 */
static inline const void *
nl_attr_data(const struct nlattr *a)
{
	return (const char *)a + NLA_HDRLEN;
}

static inline size_t
nl_attr_len(const struct nlattr *a)
{
	return (size_t)a->nla_len - NLA_HDRLEN;
}

static inline unsigned
nl_attr_type(const struct nlattr *a)
{
	return a->nla_type & (unsigned)NLA_TYPE_MASK;
}

static inline bool
nl_attr_ok(const struct nlattr *a, const char *end)
{
	const ptrdiff_t left = end - (const char *)a;

	return left >= NLA_HDRLEN && a->nla_len >= NLA_HDRLEN && a->nla_len <= left;
}

static inline const struct nlattr *
nl_attr_next(const struct nlattr *a)
{
	return (const struct nlattr *)((const char *)a + NLA_ALIGN(a->nla_len));
}

static inline const char *
nl_nest_end(const struct nlattr *nest)
{
	return (const char *)nest + nest->nla_len;
}

/*
 * The attributes behind a family header of hdr_len bytes. Not mnl_attr_for_each(), which rounds the
 * message's end up and so reads past it. After the loop a is before nl_message_end()
 * (nl_nest_end()) if what is left is no attribute.
 */
#define nl_for_each_attr(a, nlh, hdr_len)                                                     \
	for ((a) = (const void *)((const char *)(nlh) + NLMSG_HDRLEN + NLMSG_ALIGN(hdr_len)); \
	     nl_attr_ok((a), nl_message_end(nlh)); (a) = nl_attr_next(a))
#define nl_for_each_nested(a, nest) \
	for ((a) = nl_attr_data(nest); nl_attr_ok((a), nl_nest_end(nest)); (a) = nl_attr_next(a))

/* To the kernel. flags: of sendto(2). 0 or a negative errno. */
int nl_send(int sock, const struct nlmsghdr *nlh, int flags);

/* The errno in a NLMSG_ERROR or NLMSG_DONE: 0, a negative errno, or -EBADMSG. */
int nl_message_error(const struct nlmsghdr *nlh);

#endif
