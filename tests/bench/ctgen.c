/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Conntrack events at rates that no traffic of this machine reaches: entries of answered UDP
 * connections are made through ctnetlink, and then changed one after the other at the rate asked
 * for. For each change the kernel builds one message of the group that a first answer is told to,
 * of the same form, and delivers it to whoever has joined; only the packets are missing.
 *
 *   ctgen NETNS SOURCE SERVER FIRST_PORT PORTS EVENTS RATE
 *
 * The netns is a path. Prints "answered N milliseconds M", N without those the kernel refused.
 */
#include "rules/util.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES 4096u
#define MESSAGE_MAX 256u
#define BATCH_MAX 256u /* messages in one send */
#define FIRST_SOURCE 20000u
#define TICK_NS (1 * NSEC_PER_MSEC)
#define ENTRY_TIMEOUT_S 600u
#define EVENTS_MAX 10000000u
#define RATE_MAX 1000000u

struct plan {
	struct in_addr src, dst;
	unsigned first_port, n_ports;
};

static uint8_t changes[ENTRIES][MESSAGE_MAX] __attribute__((aligned(8)));
static uint8_t batch[BATCH_MAX * MESSAGE_MAX] __attribute__((aligned(8)));

static void
die(const char *what)
{
	fprintf(stderr, "ctgen: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static int
open_socket(const char *netns)
{
	_cleanup_close_ int ns = open(netns, O_RDONLY | O_CLOEXEC);
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	int fd, size = 8 << 20;

	if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
		die(netns);
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	return fd;
}

static void
put_tuple(struct nlmsghdr *m, uint16_t type, const struct plan *p, unsigned k, bool reply)
{
	const uint16_t sport = htobe16((uint16_t)(FIRST_SOURCE + k / p->n_ports));
	const uint16_t dport = htobe16((uint16_t)(p->first_port + k % p->n_ports));
	struct nlattr *tuple = mnl_attr_nest_start(m, type), *part;

	part = mnl_attr_nest_start(m, CTA_TUPLE_IP);
	mnl_attr_put_u32(m, CTA_IP_V4_SRC, reply ? p->dst.s_addr : p->src.s_addr);
	mnl_attr_put_u32(m, CTA_IP_V4_DST, reply ? p->src.s_addr : p->dst.s_addr);
	mnl_attr_nest_end(m, part);
	part = mnl_attr_nest_start(m, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(m, CTA_PROTO_NUM, IPPROTO_UDP);
	mnl_attr_put_u16(m, CTA_PROTO_SRC_PORT, reply ? dport : sport);
	mnl_attr_put_u16(m, CTA_PROTO_DST_PORT, reply ? sport : dport);
	mnl_attr_nest_end(m, part);
	mnl_attr_nest_end(m, tuple);
}

static struct nlmsghdr *
entry_message(void *buf, const struct plan *p, unsigned k, bool create)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;

	m->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
	m->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (create ? NLM_F_CREATE | NLM_F_EXCL : 0));
	nfg = mnl_nlmsg_put_extra_header(m, sizeof(*nfg));
	nfg->nfgen_family = AF_INET;
	nfg->version = NFNETLINK_V0;
	put_tuple(m, CTA_TUPLE_ORIG, p, k, false);
	if (create) {
		put_tuple(m, CTA_TUPLE_REPLY, p, k, true);
		mnl_attr_put_u32(m, CTA_STATUS, htobe32(IPS_CONFIRMED | IPS_SEEN_REPLY));
	}
	mnl_attr_put_u32(m, CTA_TIMEOUT, htobe32(ENTRY_TIMEOUT_S));
	return m;
}

static void
send_batch(int fd, size_t len)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	if (len > 0 && sendto(fd, batch, len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		die("send");
}

/* Nothing is acknowledged: what comes back are errors. */
static unsigned
errors(int fd)
{
	uint8_t buf[8192];
	unsigned n = 0;

	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		n++;
	return n;
}

static void
make_entries(int fd, const struct plan *p)
{
	size_t len = 0;

	for (unsigned k = 0; k < ENTRIES; k++) {
		len += NLMSG_ALIGN(entry_message(batch + len, p, k, true)->nlmsg_len);
		entry_message(changes[k], p, k, false);
		if (k % BATCH_MAX == BATCH_MAX - 1) {
			send_batch(fd, len);
			len = 0;
		}
	}
	send_batch(fd, len);
	if (errors(fd) > 0) {
		errno = EEXIST;
		die("entries cannot be made");
	}
}

static void
send_changes(int fd, unsigned from, unsigned to)
{
	size_t len = 0;

	for (unsigned k = from; k < to; k++) {
		const struct nlmsghdr *m = (const void *)changes[k % ENTRIES];

		memcpy(batch + len, m, m->nlmsg_len);
		len += NLMSG_ALIGN(m->nlmsg_len);
		if ((k - from) % BATCH_MAX == BATCH_MAX - 1) {
			send_batch(fd, len);
			len = 0;
		}
	}
	send_batch(fd, len);
}

static void
sleep_until(uint64_t ns)
{
	const struct timespec at = { (time_t)(ns / NSEC_PER_SEC), (long)(ns % NSEC_PER_SEC) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

int
main(int argc, char **argv)
{
	struct plan p = { 0 };
	unsigned events, rate, sent = 0, due;
	uint64_t start, now;
	int fd;

	if (argc != 8 || inet_pton(AF_INET, argv[2], &p.src) != 1 ||
	    inet_pton(AF_INET, argv[3], &p.dst) != 1) {
		fprintf(stderr, "usage: ctgen NETNS SOURCE SERVER FIRST_PORT PORTS EVENTS RATE\n");
		return 2;
	}
	p.first_port = (unsigned)atoi(argv[4]);
	p.n_ports = MAX((unsigned)atoi(argv[5]), 1u);
	events = MIN((unsigned)atoi(argv[6]), EVENTS_MAX);
	rate = MIN(MAX((unsigned)atoi(argv[7]), 1u), RATE_MAX);
	fd = open_socket(argv[1]);
	make_entries(fd, &p);
	start = now_ns();
	while (sent < events) {
		now = now_ns();
		due = (unsigned)MIN((now - start) * rate / NSEC_PER_SEC + 1, events);
		send_changes(fd, sent, due);
		sent = due;
		sleep_until(start + ((now - start) / TICK_NS + 1) * TICK_NS);
	}
	now = now_ns();
	printf("answered %u milliseconds %llu\n", sent - MIN(errors(fd), sent),
	    (unsigned long long)((now - start) / NSEC_PER_MSEC));
	close(fd);
	return 0;
}
