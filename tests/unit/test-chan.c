/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/msg.h"
#include "daemon/proto.h"

#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

struct end {
	struct chan *c;
	uint64_t got;
	size_t fds;
	int closed, error;
	uint64_t free_at; /* frees its own channel at this message */
};

static void
on_msg(void *arg, struct chan *c, struct msg *m)
{
	struct end *e = arg;
	struct keep_item it;

	memcpy(&it, m->body, sizeof(it));
	assert_int_equal(it.cookie, e->got);
	e->got++;
	e->fds += m->n_fds;
	if (e->free_at != 0 && e->got == e->free_at) {
		chan_free(c);
		e->c = NULL;
	}
}

static void
on_closed(void *arg, struct chan *c, int error)
{
	struct end *e = arg;

	e->closed++;
	e->error = error;
	assert_int_equal(chan_send(c, MSG_KEEP_LIST, 0, NULL, 0, NULL, 0), -ENOTCONN);
}

static struct event_base *
make(int s[2], struct end *a, struct end *b)
{
	struct event_base *base = event_base_new();

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s), 0);
	memset(a, 0, sizeof(*a));
	memset(b, 0, sizeof(*b));
	assert_int_equal(chan_new(base, s[0], on_msg, on_closed, a, &a->c), 0);
	if (s[1] >= 0)
		assert_int_equal(chan_new(base, s[1], on_msg, on_closed, b, &b->c), 0);
	return base;
}

static void
done(struct event_base *base, struct end *a, struct end *b)
{
	chan_free(a->c);
	chan_free(b->c);
	event_base_free(base);
}

static void
what_the_socket_does_not_take_is_queued_in_order(void **state)
{
	struct keep_item it = { .kind = KEEP_OWNER };
	struct event_base *base;
	struct end a, b;
	int s[2], fd = dup(0);

	base = make(s, &a, &b);
	for (it.cookie = 0; it.cookie < 2000; it.cookie++)
		assert_int_equal(chan_send(a.c, MSG_KEEP_PUT, 0, &it, sizeof(it), &fd, 1), 0);
	/* Ours may go before the queue is sent. */
	close(fd);
	assert_true(chan_queued(a.c) > 0);
	while (b.got < 2000)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(b.fds, 2000);
	assert_int_equal(chan_queued(a.c), 0);
	done(base, &a, &b);
}

static void
the_queue_is_bounded(void **state)
{
	static uint8_t body[8 << 20];
	struct keep_item it = { .kind = KEEP_OWNER };
	struct event_base *base;
	struct end a, b;
	int s[2], i, r = 0;

	base = make(s, &a, &b);
	for (i = 0; i < 20000 && r == 0; i++)
		r = chan_send(a.c, MSG_KEEP_DROP, 0, &it, sizeof(it), NULL, 0);
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(chan_queued(a.c), 4096);
	/* By bytes, in the other direction, behind a full socket. */
	r = 0;
	for (i = 0; i < 20000 && chan_queued(b.c) == 0; i++)
		r = chan_send(b.c, MSG_KEEP_DROP, 0, &it, sizeof(it), NULL, 0);
	assert_int_equal(r, 0);
	for (i = 0; i < 20 && r == 0; i++)
		r = chan_send(b.c, MSG_W_NFT_APPLY, 0, body, sizeof(body), NULL, 0);
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(i, 8);
	done(base, &a, &b);
}

static void
a_channel_may_be_freed_by_its_own_message(void **state)
{
	struct keep_item it = { .kind = KEEP_OWNER };
	struct event_base *base;
	struct end a, b;
	int s[2];

	base = make(s, &a, &b);
	b.free_at = 3;
	for (it.cookie = 0; it.cookie < 10; it.cookie++)
		assert_int_equal(chan_send(a.c, MSG_KEEP_DROP, 0, &it, sizeof(it), NULL, 0), 0);
	while (a.closed == 0)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(b.got, 3);
	assert_null(b.c);
	assert_int_equal(a.closed, 1);
	assert_int_equal(a.error, -ECONNRESET);
	done(base, &a, &b);
}

static void
a_refused_message_closes_the_channel_once(void **state)
{
	struct keep_item it = { .kind = KEEP_OWNER };
	struct msg_header bad = { MSG_VERSION + 1, MSG_KEEP_LIST, 0, 0, 0 };
	struct event_base *base;
	struct end a, b;
	int s[2];

	base = make(s, &a, &b);
	assert_int_equal(send(s[1], &bad, sizeof(bad), 0), sizeof(bad));
	assert_int_equal(chan_send(b.c, MSG_KEEP_DROP, 0, &it, sizeof(it), NULL, 0), 0);
	while (a.closed == 0)
		event_base_loop(base, EVLOOP_ONCE);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(a.closed, 1);
	assert_int_equal(a.error, -EBADMSG);
	/* What stood behind it is not looked at. */
	assert_int_equal(a.got, 0);
	done(base, &a, &b);
}

static void
a_message_outside_the_table_is_not_queued(void **state)
{
	struct keep_item it = { .kind = KEEP_OWNER };
	struct event_base *base;
	struct end a, b;
	int s[2];

	base = make(s, &a, &b);
	while (chan_queued(a.c) == 0)
		assert_int_equal(chan_send(a.c, MSG_KEEP_DROP, 0, &it, sizeof(it), NULL, 0), 0);
	assert_int_equal(chan_send(a.c, MSG_KEEP_DROP, 0, &it, 3, NULL, 0), -EBADMSG);
	assert_int_equal(chan_send(a.c, MSG_KEEP_PUT, 0, &it, sizeof(it), NULL, 0), -EBADMSG);
	assert_int_equal(chan_send(a.c, 0, 0, &it, sizeof(it), NULL, 0), -EBADMSG);
	done(base, &a, &b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_socket_does_not_take_is_queued_in_order),
		cmocka_unit_test(the_queue_is_bounded),
		cmocka_unit_test(a_channel_may_be_freed_by_its_own_message),
		cmocka_unit_test(a_refused_message_closes_the_channel_once),
		cmocka_unit_test(a_message_outside_the_table_is_not_queued),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
