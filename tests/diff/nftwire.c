/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See nftwire.h. One request at a time: its answers wait until they are read. */
#include "tests/diff/nftwire.h"

#include "rules/util.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

static struct sim_table *table;
static struct {
	struct nlmsghdr head;
	struct nlmsgerr err;
} answer;
static bool waiting;

ssize_t __wrap_sendto(
    int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len);
ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags);
int __wrap_sock_kernel_only(int fd);

void
nftwire_connect(struct sim_table *t)
{
	table = t;
}

static void
answer_with(uint32_t seq, int error)
{
	memset(&answer, 0, sizeof(answer));
	answer.head.nlmsg_len = sizeof(answer);
	answer.head.nlmsg_type = NLMSG_ERROR;
	answer.head.nlmsg_seq = seq;
	answer.err.error = error;
	waiting = true;
}

ssize_t
__wrap_sendto(
    int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
	const struct nlmsghdr *h = buf;

	(void)fd, (void)flags, (void)to, (void)to_len;
	/* The only question before the first transaction is whether the table is there. */
	if (h->nlmsg_type == NFNL_MSG_BATCH_BEGIN)
		answer_with(h->nlmsg_seq, sim_feed(table, buf, len));
	else
		answer_with(h->nlmsg_seq, table->present ? -EBUSY : -ENOENT);
	return (ssize_t)len;
}

ssize_t
__wrap_recv(int fd, void *buf, size_t len, int flags)
{
	(void)fd, (void)flags;
	if (!waiting || len < sizeof(answer)) {
		errno = EAGAIN;
		return -1;
	}
	memcpy(buf, &answer, sizeof(answer));
	waiting = false;
	return sizeof(answer);
}

int
__wrap_sock_kernel_only(int fd)
{
	(void)fd;
	return 0;
}
