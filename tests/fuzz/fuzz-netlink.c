/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What asks the kernel and reads its answers, with a kernel that says anything. Input: a byte that
 * chooses the reader, then datagrams, each behind two bytes of its length (big endian): one answers
 * one request, and is followed by the end of a dump. Messages get the number of the request.
 * What of our table is read by libnftnl is not here: it ends the program that gets an attribute of
 * another length than it knows.
 */
#include "netlink/ct.h"
#include "netlink/drain.h"
#include "netlink/link.h"
#include "netlink/nft.h"
#include "netlink/nft_watch.h"
#include "netlink/rtnl.h"
#include "netlink/sockdiag.h"
#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_SIZE 65536
#define MAX_ADDRS 8
#define TABLE "nanoseg"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
ssize_t __wrap_sendto(
    int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len);
ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags);
ssize_t __wrap_recvfrom(
    int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *from_len);
int __wrap_recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *timeout);
int __wrap_poll(struct pollfd *p, nfds_t n, int timeout);

static struct {
	const uint8_t *data;
	size_t size;
	uint32_t seq;
	enum { SILENT, ANSWER, END } next;
} kernel;

static void
require(bool ok)
{
	if (!ok)
		abort();
}

static void
number(void *buf, size_t len)
{
	struct nlmsghdr *nlh = buf;

	while (nl_message_ok(nlh, len)) {
		nlh->nlmsg_seq = kernel.seq;
		nlh = (struct nlmsghdr *)(void *)nl_message_next(nlh, &len);
	}
}

static ssize_t
datagram(void *buf, size_t room)
{
	const struct {
		struct nlmsghdr h;
		int32_t error;
	} done = { { sizeof(done), NLMSG_DONE, NLM_F_MULTI, kernel.seq, 0 }, 0 };
	size_t len;

	if (kernel.next == ANSWER && kernel.size >= 2) {
		len = MIN((size_t)(kernel.data[0] << 8 | kernel.data[1]), kernel.size - 2);
		memcpy(buf, kernel.data + 2, MIN(len, room));
		kernel.data += 2 + len;
		kernel.size -= 2 + len;
		kernel.next = END;
		number(buf, MIN(len, room));
		return (ssize_t)MIN(len, room);
	}
	if (kernel.next == SILENT || room < sizeof(done)) {
		errno = EAGAIN;
		return -1;
	}
	kernel.next = SILENT;
	memcpy(buf, &done, sizeof(done));
	return sizeof(done);
}

ssize_t
__wrap_sendto(
    int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
	kernel.seq = ((const struct nlmsghdr *)buf)->nlmsg_seq;
	kernel.next = ANSWER;
	return (ssize_t)len;
}

ssize_t
__wrap_recv(int fd, void *buf, size_t len, int flags)
{
	return datagram(buf, len);
}

ssize_t
__wrap_recvfrom(
    int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *from_len)
{
	memset(from, 0, *from_len);
	return datagram(buf, len);
}

int
__wrap_recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *timeout)
{
	ssize_t len = datagram(v->msg_hdr.msg_iov->iov_base, v->msg_hdr.msg_iov->iov_len);

	if (len < 0)
		return -1;
	memset(v->msg_hdr.msg_name, 0, v->msg_hdr.msg_namelen);
	v->msg_len = (unsigned)len;
	return 1;
}

int
__wrap_poll(struct pollfd *p, nfds_t n, int timeout)
{
	return kernel.next != SILENT;
}

static void
count(int sock)
{
	uint32_t n, max;

	nft_count_tables(sock, TABLE);
	ct_stats(sock, &n, &max);
}

static void
on_table(void *arg, const char *name)
{
	require(strncmp(name, TABLE, strlen(TABLE)) == 0);
}

static void
read_changes(int sock)
{
	struct nft_change change = { 0 };
	struct link_changes links = { 0 };

	kernel.next = ANSWER;
	if (nft_watch_read(sock, TABLE, 1, on_table, NULL, &change) >= 0)
		require(memchr(change.program, '\0', sizeof(change.program)) != NULL);
	kernel.next = ANSWER;
	link_events_read(sock, &links);
	require(links.n <= LINK_CHANGES_MAX);
}

static void
read_links(int sock)
{
	struct rtnl_addr addrs[MAX_ADDRS];
	struct link_info *all = NULL, one;
	int32_t nsid = -1;
	size_t n = 0;

	if (link_dump(sock, -1, &all, &n) == 0)
		for (size_t i = 0; i < n; i++)
			require(memchr(all[i].name, '\0', sizeof(all[i].name)) != NULL);
	free(all);
	if (link_get(sock, 1, &one) == 0)
		require(memchr(one.name, '\0', sizeof(one.name)) != NULL);
	if (link_addrs(sock, 0, addrs, MAX_ADDRS, &n) == 0)
		require(n <= MAX_ADDRS);
	if (link_nsid(sock, sock, &nsid) == 0)
		require(nsid >= 0);
}

static int
on_socket(void *arg, const struct diag_socket *s)
{
	require(s->local_port != 0 && (s->local.family == 4 || s->local.family == 6));
	require(!s->listening || s->remote.family == 0);
	return 0;
}

static void
read_addrs(int sock)
{
	const struct rtnl_addr *a;
	struct rtnl_watch *w;
	size_t n;

	if (rtnl_watch_new(dup(sock), &w) < 0)
		return;
	while (kernel.size >= 2 && rtnl_watch_read(w) >= 0) {
		a = rtnl_watch_addrs(w, &n);
		for (size_t i = 0; i < n; i++)
			require(!addr_is_loopback(&a[i].addr));
		kernel.next = ANSWER;
	}
	rtnl_watch_free(w);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int sock = -1;

	if (size == 0 || size > MAX_SIZE)
		return 0;
	if (sock < 0)
		sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
	require(sock >= 0);
	kernel.data = data + 1;
	kernel.size = size - 1;
	kernel.next = SILENT;
	switch (data[0]) {
	case 'n':
		count(sock);
		break;
	case 'c':
		read_changes(sock);
		break;
	case 'l':
		read_links(sock);
		break;
	case 's':
		diag_listening(sock, IPPROTO_UDP, 1000, on_socket, NULL);
		diag_established(sock, 1000, on_socket, NULL);
		break;
	case 'a':
		read_addrs(sock);
		break;
	default:
		break;
	}
	return 0;
}
