/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The socket tables of a namespace. Source: sock_diag(7), linux/inet_diag.h.
 *
 * The first part of a dump is made inside sendto() and the next ones inside each read, so that a
 * whole dump is read without waiting. A dump that is not wanted any more is still read to its end,
 * for the kernel refuses another one on that socket before (EBUSY).
 */
#include "netlink/sockdiag.h"

#include "netlink/drain.h"
#include "netlink/netns.h"
#include "rules/util.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

/*
 * The most that the kernel puts into one part. For each part it walks again over what it has told
 * of a bucket, where a container may have put any number of sockets: larger parts, fewer walks.
 */
#define BUF_SIZE 32768
#define STATES_CONNECTED \
	(1u << TCP_ESTABLISHED | 1u << TCP_CLOSE_WAIT | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2)
/* Datagrams of others on our port (root in the namespace can send them) before we give up. */
#define MAX_FOREIGN 1000
/* The kernel gives a UDP socket without a peer the state of a closed one. */
static unsigned
listening_state(uint8_t proto)
{
	return proto == IPPROTO_UDP ? TCP_CLOSE : TCP_LISTEN;
}

struct dump {
	size_t left, passed;
	diag_socket_fn fn;
	void *arg;
	uint32_t seq;
	uint8_t proto;
	uint32_t states;
	uint64_t messages;
	int result; /* of the callback, or of the kernel */
	bool done;
};

int
diag_open(int nsfd)
{
	return netns_kernel_socket(nsfd, NETLINK_SOCK_DIAG, 0, 0);
}

static int
ask(int sock, uint8_t family, const struct dump *d)
{
	uint8_t buf[128] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct inet_diag_req_v2 *req;
	struct nlmsghdr *nlh;

	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = d->seq;
	req = mnl_nlmsg_put_extra_header(nlh, sizeof(*req));
	req->sdiag_family = family;
	req->sdiag_protocol = d->proto;
	req->idiag_states = d->states;
	return nl_send(sock, nlh, 0);
}

static struct addr
diag_addr(uint8_t family, const __be32 bytes[4])
{
	return family == AF_INET ? addr_from_v4(bytes) : addr_from_v6(bytes);
}

static bool
takes_v4_too(const struct nlmsghdr *nlh, const struct inet_diag_msg *m)
{
	static const __be32 any[4];
	const struct nlattr *a;
	bool dual = false;

	if (m->idiag_family != AF_INET6 || memcmp(m->id.idiag_src, any, sizeof(any)) != 0)
		return false;
	nl_for_each_attr(a, nlh, sizeof(*m))
	{
		if (nl_attr_type(a) == INET_DIAG_SKV6ONLY && nl_attr_len(a) == 1)
			dual = mnl_attr_get_u8(a) == 0;
	}
	return dual;
}

static bool
parse_socket(const struct nlmsghdr *nlh, uint8_t proto, struct diag_socket *ret)
{
	struct diag_socket s = { .proto = proto };
	const struct inet_diag_msg *m;

	if (nlh->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(*m))
		return false;
	m = mnl_nlmsg_get_payload(nlh);
	if (m->idiag_family != AF_INET && m->idiag_family != AF_INET6)
		return false;
	s.listening = m->idiag_state == listening_state(proto);
	s.local = diag_addr(m->idiag_family, m->id.idiag_src);
	s.local_port = ntohs(m->id.idiag_sport);
	if (s.listening) {
		s.dual = takes_v4_too(nlh, m);
	} else {
		s.remote = diag_addr(m->idiag_family, m->id.idiag_dst);
		s.remote_port = ntohs(m->id.idiag_dport);
	}
	*ret = s;
	return true;
}

static int
on_message(void *arg, const struct nlmsghdr *nlh)
{
	struct dump *d = arg;
	struct diag_socket s;
	int r;

	if (nlh->nlmsg_seq != d->seq)
		return 0;
	d->messages++;
	if (nlh->nlmsg_type == NLMSG_DONE || nlh->nlmsg_type == NLMSG_ERROR) {
		d->done = true;
		r = nl_message_error(nlh);
		if (r < 0 && d->result == 0)
			d->result = r;
		return 0;
	}
	if (nlh->nlmsg_type != SOCK_DIAG_BY_FAMILY || d->result < 0 ||
	    !parse_socket(nlh, d->proto, &s) || s.local_port == 0)
		return 0;
	if (d->left == 0) {
		d->result = -E2BIG;
		return 0;
	}
	d->left--;
	d->passed++;
	r = d->fn(d->arg, &s);
	if (r < 0)
		d->result = r;
	return 0;
}

static int
dump_one(int sock, uint8_t family, struct dump *d)
{
	static atomic_uint next_seq = 1;
	uint8_t buf[BUF_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	uint64_t malformed = 0, before;
	unsigned idle = 0;
	int r;

	d->seq = atomic_fetch_add(&next_seq, 1);
	d->done = false;
	r = ask(sock, family, d);
	while (r >= 0 && !d->done) {
		before = d->messages;
		r = nl_drain(sock, buf, sizeof(buf), 1, on_message, d, &malformed);
		if (r == 0 || malformed > 0)
			r = -EIO;
		else if (d->messages == before && ++idle > MAX_FOREIGN)
			r = -EBUSY;
	}
	return r < 0 ? r : d->result;
}

static int
dump_both(int sock, struct dump *d)
{
	int r = dump_one(sock, AF_INET, d);

	if (r >= 0)
		r = dump_one(sock, AF_INET6, d);
	return r < 0 ? r : (int)MIN(d->passed, (size_t)INT32_MAX);
}

int
diag_listening(int sock, uint8_t proto, size_t max, diag_socket_fn fn, void *arg)
{
	struct dump d = {
		.left = max,
		.fn = fn,
		.arg = arg,
		.proto = proto,
		.states = 1u << listening_state(proto),
	};
	int r = dump_both(sock, &d);

	/* Not every kernel has SCTP, nor shows its sockets. */
	return r == -ENOENT && proto == IPPROTO_SCTP ? 0 : r;
}

int
diag_established(int sock, size_t max, diag_socket_fn fn, void *arg)
{
	struct dump d = {
		.left = max,
		.fn = fn,
		.arg = arg,
		.proto = IPPROTO_TCP,
		.states = STATES_CONNECTED,
	};

	return dump_both(sock, &d);
}
