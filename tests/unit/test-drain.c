/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Draining a socket in slots: real answers of the kernel about the loopback interface. */
#include "netlink/drain.h"
#include "rules/util.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define SLOT 4096
#define ASKED 75u /* more than two rounds of slots */

static uint8_t buf[NL_SLOTS_MAX * SLOT] __attribute__((aligned(8)));

struct seen {
	uint32_t next_seq;
	unsigned n, stop_at;
	bool in_order;
};

static int
keep(void *arg, const struct nlmsghdr *nlh)
{
	struct seen *s = arg;

	s->in_order = s->in_order && nlh->nlmsg_seq == s->next_seq;
	s->next_seq = nlh->nlmsg_seq + 1;
	s->n++;
	return s->n == s->stop_at ? -ECANCELED : 0;
}

static int
open_socket(void)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), size = 1 << 20;

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	assert_int_equal(connect(fd, (struct sockaddr *)&kernel, sizeof(kernel)), 0);
	return fd;
}

/* Each question has one answer, a datagram of its own, there when send() returns. */
static void
ask(int fd, uint32_t first_seq, unsigned n)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} q = { .h = { .nlmsg_len = sizeof(q),
		    .nlmsg_type = RTM_GETLINK,
		    .nlmsg_flags = NLM_F_REQUEST },
		.i = { .ifi_index = 1 } };

	for (unsigned i = 0; i < n; i++) {
		q.h.nlmsg_seq = first_seq + i;
		assert_int_equal(send(fd, &q, sizeof(q), 0), sizeof(q));
	}
}

static void
every_datagram_is_passed_on_in_order(void **state)
{
	_cleanup_close_ int fd = open_socket();
	struct seen s = { .next_seq = 1, .in_order = true };
	uint64_t malformed = 0;

	ask(fd, 1, ASKED);
	assert_int_equal(
	    nl_drain_slots(fd, buf, sizeof(buf), SLOT, 1000, keep, &s, &malformed), ASKED);
	assert_int_equal(s.n, ASKED);
	assert_true(s.in_order);
	assert_int_equal(malformed, 0);
	assert_int_equal(nl_drain_slots(fd, buf, sizeof(buf), SLOT, 1000, keep, &s, &malformed), 0);
}

static void
one_slot_is_enough(void **state)
{
	_cleanup_close_ int fd = open_socket();
	struct seen s = { .next_seq = 1, .in_order = true };
	uint64_t malformed = 0;

	ask(fd, 1, 5);
	assert_int_equal(nl_drain(fd, buf, sizeof(buf), 1000, keep, &s, &malformed), 5);
	assert_int_equal(s.n, 5);
	assert_true(s.in_order);
}

static void
the_limit_holds_and_leaves_the_rest(void **state)
{
	_cleanup_close_ int fd = open_socket();
	struct seen s = { .next_seq = 1, .in_order = true };
	uint64_t malformed = 0;

	ask(fd, 1, ASKED);
	assert_int_equal(nl_drain_slots(fd, buf, sizeof(buf), SLOT, 40, keep, &s, &malformed), 40);
	assert_int_equal(s.n, 40);
	assert_int_equal(
	    nl_drain_slots(fd, buf, sizeof(buf), SLOT, 1000, keep, &s, &malformed), ASKED - 40);
	assert_int_equal(s.n, ASKED);
	assert_true(s.in_order);
}

static void
what_a_slot_cannot_hold_is_counted_and_not_passed_on(void **state)
{
	_cleanup_close_ int fd = open_socket();
	struct seen s = { .next_seq = 1, .in_order = true };
	uint64_t malformed = 0;

	ask(fd, 1, 3);
	assert_int_equal(nl_drain_slots(fd, buf, sizeof(buf), 64, 1000, keep, &s, &malformed), 3);
	assert_int_equal(s.n, 0);
	assert_int_equal(malformed, 3);
}

static void
a_refusal_ends_it(void **state)
{
	_cleanup_close_ int fd = open_socket();
	struct seen s = { .next_seq = 1, .stop_at = 2, .in_order = true };
	uint64_t malformed = 0;

	ask(fd, 1, 5);
	assert_int_equal(
	    nl_drain_slots(fd, buf, sizeof(buf), SLOT, 1000, keep, &s, &malformed), -ECANCELED);
	assert_int_equal(s.n, 2);
}

static void
an_overrun_is_told_after_what_came_before_it(void **state)
{
	_cleanup_close_ int fd = open_socket();
	struct seen s = { .next_seq = 1, .in_order = true };
	uint64_t malformed = 0;
	int size = 1, r;
	unsigned asked = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	while (asked < 200)
		ask(fd, ++asked, 1);
	r = nl_drain_slots(fd, buf, sizeof(buf), SLOT, 1000, keep, &s, &malformed);
	while (r >= 0 && s.n == 0)
		r = nl_drain_slots(fd, buf, sizeof(buf), SLOT, 1000, keep, &s, &malformed);
	assert_int_equal(r, -ENOBUFS);
	assert_in_range(
	    nl_drain_slots(fd, buf, sizeof(buf), SLOT, 1000, keep, &s, &malformed), 0, 200);
	assert_in_range(s.n, 1, 199);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_datagram_is_passed_on_in_order),
		cmocka_unit_test(one_slot_is_enough),
		cmocka_unit_test(the_limit_holds_and_leaves_the_rest),
		cmocka_unit_test(what_a_slot_cannot_hold_is_counted_and_not_passed_on),
		cmocka_unit_test(a_refusal_ends_it),
		cmocka_unit_test(an_overrun_is_told_after_what_came_before_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
