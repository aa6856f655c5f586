/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transactions that fail: each one of a change that takes all its steps, in every way that the
 * kernel and the socket have. The linker puts us between the library and its sendto() and recv(); a
 * refused transaction never reaches the kernel, as one that the kernel refuses changes nothing; one
 * whose answer is lost does.
 *
 * Meanwhile datagrams flow: what both rulesets deny never arrives, what both allow always does.
 */
#include "netlink/netns.h"
#include "netlink/nft.h"
#include "rules/util.h"
#include "tests/integration/nslib.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define TABLE "nanoseg_faults"
#define GROUP 4712
#define BOTH_ALLOW 5001
#define BOTH_DENY 6000
#define WAIT_MS 1000
#define STEPS 6

#ifndef ERESTART
#define ERESTART 85
#endif

static struct ns_pair ns;
static int sock = -1;
static struct nft_table *table;

/* Faults */

enum how { REFUSED, UNSENT, LOST };

struct fault {
	const char *name;
	enum how how;
	int error;
	int times;     /* in a row; -1: for ever */
	bool survived; /* the library's own attempts are enough */
};

static const struct fault faults[] = {
	{ "EBUSY once", REFUSED, EBUSY, 1, true },
	{ "EBUSY five times", REFUSED, EBUSY, 5, true },
	{ "EBUSY for ever", REFUSED, EBUSY, -1, false },
	{ "EINTR once", REFUSED, EINTR, 1, true },
	{ "ERESTART once", REFUSED, ERESTART, 1, true },
	{ "EAGAIN once", REFUSED, EAGAIN, 1, true },
	{ "ENOMEM once", REFUSED, ENOMEM, 1, false },
	{ "ENOBUFS for ever", REFUSED, ENOBUFS, -1, false },
	{ "a signal while sending", UNSENT, EINTR, 3, true },
	{ "no room to send", UNSENT, ENOBUFS, 1, false },
	{ "an answer lost to an overrun", LOST, ENOBUFS, 1, false },
};

static struct {
	const struct fault *what; /* NULL: none */
	int skip, left, met;
	bool answer; /* the next recv() is ours */
	uint32_t seq;
} now;

ssize_t __real_sendto(
    int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len);
ssize_t __real_recv(int fd, void *buf, size_t len, int flags);
ssize_t __wrap_sendto(
    int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len);
ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags);

ssize_t
__wrap_sendto(
    int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
	const struct nlmsghdr *h = buf;

	if (fd != sock || now.what == NULL || h->nlmsg_type != NFNL_MSG_BATCH_BEGIN ||
	    now.left == 0 || now.skip-- > 0)
		return __real_sendto(fd, buf, len, flags, to, to_len);
	now.skip = 0;
	now.left -= now.left > 0;
	now.met++;
	if (now.what->how == UNSENT) {
		errno = now.what->error;
		return -1;
	}
	now.answer = true;
	now.seq = h->nlmsg_seq;
	return now.what->how == LOST ? __real_sendto(fd, buf, len, flags, to, to_len)
				     : (ssize_t)len;
}

ssize_t
__wrap_recv(int fd, void *buf, size_t len, int flags)
{
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
	} m = { 0 };

	if (fd != sock || !now.answer)
		return __real_recv(fd, buf, len, flags);
	now.answer = false;
	if (now.what->how == LOST) {
		while (__real_recv(fd, buf, len, MSG_DONTWAIT) >= 0)
			;
		errno = now.what->error;
		return -1;
	}
	m.h = (struct nlmsghdr){ sizeof(m), NLMSG_ERROR, 0, now.seq, 0 };
	m.e.error = -now.what->error;
	memcpy(buf, &m, sizeof(m));
	return sizeof(m);
}

static void
fault_set(const struct fault *f, int step)
{
	memset(&now, 0, sizeof(now));
	now.what = f;
	now.skip = step;
	now.left = f != NULL ? f->times : 0;
}

/* Rulesets that differ in everything a change has a step for. */

static struct ruleset_elem
elem(bool allow, int lo, int hi, int edge)
{
	return (struct ruleset_elem){ .lo = ns_addr(NS_A4),
		.hi = ns_addr(NS_A4),
		.port_lo = (uint16_t)lo,
		.port_hi = (uint16_t)hi,
		.proto = IPPROTO_UDP,
		.dir = DIR_INGRESS,
		.allow = allow,
		.edge = (uint64_t)edge };
}

static void
ruleset_of(bool old, struct ruleset_elem v[static 4], struct ruleset *ret)
{
	*ret = (struct ruleset){ .in_mode = MODE_ENFORCE,
		.out_mode = MODE_OBSERVE,
		.elems = v,
		.n_elems = 4,
		.report_per_second = 100 };
	v[0] = old ? elem(false, BOTH_DENY, BOTH_DENY, 1) : elem(false, 5990, 6010, 2);
	v[1] = old ? elem(false, 7000, 7010, 3) : elem(false, 7005, 7005, 4);
	v[2] = old ? elem(true, BOTH_ALLOW, BOTH_ALLOW, 5) : elem(true, 5000, 5010, 6);
	v[3] = old ? elem(true, 5900, 6100, 7) : elem(true, 8001, 8001, 8);
}

static int
apply(bool old)
{
	struct ruleset_elem v[4];
	struct ruleset rs;
	bool owned;

	ruleset_of(old, v, &rs);
	return nft_table_apply(table, &rs, &owned);
}

static bool
is_like(const uint8_t want[static RULESET_DIGEST_LEN])
{
	struct nft_state st;

	return nft_table_read(table, &st) == 0 && st.present &&
	       memcmp(want, st.digest, RULESET_DIGEST_LEN) == 0;
}

static bool
is_as_expected(void)
{
	uint8_t want[RULESET_DIGEST_LEN];

	return nft_table_expected(table, want) == 0 && is_like(want);
}

/* Traffic: a child with both ends. */

struct counts {
	volatile unsigned sent, lost, passed;
};
static struct counts *counts;

static int
to_port(uint16_t port)
{
	struct sockaddr_storage sa;
	socklen_t len = ns_sockaddr(NS_B4, port, &sa);
	int fd = netns_socket(ns.a, AF_INET, SOCK_DGRAM, 0);

	return fd >= 0 && connect(fd, (struct sockaddr *)&sa, len) == 0 ? fd : -1;
}

/* Every datagram is a new connection: its source is another port each time. */
static void
flow(void)
{
	int allowed = ns_udp(ns.b, NS_B4, BOTH_ALLOW), denied = ns_udp(ns.b, NS_B4, BOTH_DENY);
	struct pollfd p = { .fd = allowed, .events = POLLIN };
	char byte = 'x';

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int a = to_port(BOTH_ALLOW), d = to_port(BOTH_DENY);

		if (send(d, &byte, 1, 0) == 1 && send(a, &byte, 1, 0) == 1) {
			counts->sent++;
			counts->lost += poll(&p, 1, WAIT_MS) != 1;
			recv(allowed, &byte, 1, MSG_DONTWAIT);
			counts->passed += recv(denied, &byte, 1, MSG_DONTWAIT) == 1;
		}
		close(a);
		close(d);
	}
}

/* Tests */

/* Which part of the promise is broken, or NULL. */
static const char *
try_fault(const struct fault *f, int step, bool *ret_met)
{
	uint8_t old[RULESET_DIGEST_LEN];
	int r;

	if (apply(true) != 0 || !is_as_expected() || nft_table_expected(table, old) != 0)
		return "the old rules were not loaded";
	fault_set(f, step);
	r = apply(false);
	*ret_met = now.met > 0;
	fault_set(NULL, 0);
	if (!*ret_met)
		return r == 0 && is_as_expected() ? NULL : "it fails without a fault";
	if (f->survived && r != 0)
		return "it was not tried again";
	if (r == 0 && !is_as_expected())
		return "success, and the kernel has something else";
	if (!f->survived && r == 0)
		return "no error is told";
	if (step == 0 && f->how != LOST && r < 0 && !is_like(old))
		return "the first step failed, and the old rules do not stand";
	if (apply(false) != 0 || !is_as_expected())
		return "the next attempt does not mend it";
	return NULL;
}

static void
test_fault(const struct fault *f)
{
	unsigned met = 0;

	for (int step = 0; step < STEPS; step++) {
		bool hit = false;
		const char *wrong = try_fault(f, step, &hit);

		met += hit;
		if (wrong != NULL) {
			tap_ok(false, "%s at transaction %d: %s", f->name, step + 1, wrong);
			return;
		}
	}
	tap_ok(met >= 4, "%s: survived at each of the %u transactions of a change", f->name, met);
}

/* From an unknown state, which is read first: a new handle. */
static void
test_adoption(const struct fault *f)
{
	const char *wrong = NULL;

	for (int step = 0; step < STEPS && wrong == NULL; step++) {
		if (apply(true) != 0)
			wrong = "the old rules were not loaded";
		nft_table_free(table);
		table = NULL;
		if (nft_table_new(sock, TABLE, GROUP, &table) < 0)
			break;
		fault_set(f, step);
		apply(false);
		fault_set(NULL, 0);
		if (wrong == NULL && (apply(false) != 0 || !is_as_expected()))
			wrong = "the next attempt does not mend it";
	}
	tap_ok(wrong == NULL, "%s while a table is taken over%s%s", f->name,
	    wrong != NULL ? ": " : "", wrong != NULL ? wrong : "");
}

int
main(void)
{
	pid_t child;

	ns_start();
	ns_pair_new(&ns);
	sock = netns_socket(ns.b, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	counts =
	    mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sock < 0 || counts == MAP_FAILED || nft_table_new(sock, TABLE, GROUP, &table) < 0 ||
	    apply(true) != 0) {
		printf("Bail out! no table\n");
		return 99;
	}
	child = fork();
	if (child == 0)
		flow();
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		test_fault(&faults[i]);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		test_adoption(&faults[i]);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	tap_note("%u datagrams of each kind", counts->sent);
	tap_ok(counts->sent > 100 && counts->passed == 0,
	    "meanwhile nothing passed that both rulesets deny (%u)", counts->passed);
	tap_ok(counts->lost == 0, "and nothing was lost that both allow (%u)", counts->lost);
	nft_table_delete(table);
	nft_table_free(table);
	close_fd(&sock);
	return tap_end();
}
