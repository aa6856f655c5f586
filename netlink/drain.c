/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netlink/drain.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_ERRNO 4095

static int
each_message(const void *buf, size_t len, nl_message_fn fn, void *arg, uint64_t *malformed)
{
	const struct nlmsghdr *nlh = buf;
	int r;

	for (; nl_message_ok(nlh, len); nlh = nl_message_next(nlh, &len)) {
		r = fn(arg, nlh);
		if (r < 0)
			return r;
	}
	if (len > 0)
		(*malformed)++;
	return 0;
}

int
nl_drain(int sock, void *buf, size_t size, unsigned max, nl_message_fn fn, void *arg,
    uint64_t *malformed)
{
	struct sockaddr_nl from;
	struct iovec iov = { buf, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;
	unsigned i;
	int r;

	for (i = 0; i < max; i++) {
		msg.msg_name = &from;
		msg.msg_namelen = sizeof(from);
		n = recvmsg(sock, &msg, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? (int)i : -errno;
		if (msg.msg_namelen < sizeof(from) || from.nl_pid != 0)
			continue;
		if ((msg.msg_flags & MSG_TRUNC) != 0) {
			(*malformed)++;
			continue;
		}
		r = each_message(buf, (size_t)n, fn, arg, malformed);
		if (r < 0)
			return r;
	}
	return (int)i;
}

int
nl_message_error(const struct nlmsghdr *nlh)
{
	int32_t error;

	if (nlh->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(error))
		return nlh->nlmsg_type == NLMSG_DONE ? 0 : -EBADMSG;
	memcpy(&error, mnl_nlmsg_get_payload(nlh), sizeof(error));
	return error > 0 || error < -MAX_ERRNO ? -EBADMSG : error;
}
