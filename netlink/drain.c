/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netlink/drain.h"

#include "rules/util.h"

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

/* What recvmmsg() fills; the kernel changes lengths and flags, so each turn sets them anew. */
struct slots {
	struct mmsghdr m[NL_SLOTS_MAX];
	struct iovec iov[NL_SLOTS_MAX];
	struct sockaddr_nl from[NL_SLOTS_MAX];
};

static int
slots_receive(int sock, struct slots *s, uint8_t *buf, size_t slot, unsigned n)
{
	int r;

	for (unsigned i = 0; i < n; i++) {
		s->iov[i] = (struct iovec){ buf + i * slot, slot };
		s->m[i].msg_hdr = (struct msghdr){
			.msg_name = &s->from[i],
			.msg_namelen = sizeof(s->from[i]),
			.msg_iov = &s->iov[i],
			.msg_iovlen = 1,
		};
	}
	do
		r = recvmmsg(sock, s->m, n, MSG_DONTWAIT, NULL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static int
slot_pass(const struct slots *s, unsigned i, nl_message_fn fn, void *arg, uint64_t *malformed)
{
	const struct msghdr *h = &s->m[i].msg_hdr;

	if (h->msg_namelen < sizeof(s->from[i]) || s->from[i].nl_pid != 0)
		return 0;
	if ((h->msg_flags & MSG_TRUNC) != 0) {
		(*malformed)++;
		return 0;
	}
	return each_message(s->iov[i].iov_base, s->m[i].msg_len, fn, arg, malformed);
}

int
nl_drain_slots(int sock, void *buf, size_t size, size_t slot, unsigned max, nl_message_fn fn,
    void *arg, uint64_t *malformed)
{
	const unsigned n_slots = (unsigned)MIN(size / slot, (size_t)NL_SLOTS_MAX);
	struct slots s;
	unsigned total = 0;
	int n, r;

	/* An error that follows datagrams is told by the next call. */
	while (total < max) {
		n = slots_receive(sock, &s, buf, slot, MIN(n_slots, max - total));
		if (n < 0)
			return n == -EAGAIN ? (int)total : n;
		for (int i = 0; i < n; i++) {
			r = slot_pass(&s, (unsigned)i, fn, arg, malformed);
			if (r < 0)
				return r;
		}
		total += (unsigned)n;
	}
	return (int)total;
}

int
nl_drain(int sock, void *buf, size_t size, unsigned max, nl_message_fn fn, void *arg,
    uint64_t *malformed)
{
	return nl_drain_slots(sock, buf, size, size, max, fn, arg, malformed);
}

int
nl_send(int sock, const struct nlmsghdr *nlh, int flags)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	if (sendto(sock, nlh, nlh->nlmsg_len, flags, (struct sockaddr *)&kernel, sizeof(kernel)) <
	    0)
		return -errno;
	return 0;
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
