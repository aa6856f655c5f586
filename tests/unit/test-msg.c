/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/msg.h"
#include "daemon/proto.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <cmocka.h>

static int
open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static void
pair(int s[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
}

static void
unpair(int s[2])
{
	close(s[0]);
	close(s[1]);
}

/* What a peer with our privileges but not our code could send. */
static void
send_raw(
    int sock, const struct msg_header *h, const void *body, size_t len, const int *fds, size_t n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * 16)];
	} ctl = { 0 };
	struct iovec iov[2] = { { (void *)h, sizeof(*h) }, { (void *)body, len } };
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };
	struct cmsghdr *c;

	if (n > 0) {
		mh.msg_control = ctl.buf;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
	}
	assert_true(sendmsg(sock, &mh, 0) >= 0);
}

static void
every_wrong_header_is_refused(void **state)
{
	const uint32_t c = sizeof(struct w_cookie), e = sizeof(struct flow_event);
	static const uint8_t none[8] = { 0 };
	static uint8_t buf[16 + MSG_MAX_INLINE + 64];
	const struct {
		const char *why;
		struct msg_header h;
		size_t body, n_fds;
		int ret;
	} t[] = {
		{ "good", { 1, MSG_W_RELEASE, 0, c, 0 }, c, 0, 0 },
		{ "good, array", { 1, MSG_CAP_EVENTS, 0, 3 * e, 0 }, 3 * e, 0, 0 },
		{ "good, empty", { 1, MSG_W_SCANNED, 0, 0, 0 }, 0, 0, 0 },
		{ "good, fd", { 1, MSG_CAP_NFLOG, 0, sizeof(struct cap_nflog), 0 },
		    sizeof(struct cap_nflog), 1, 0 },
		{ "good, memfd", { 1, MSG_W_NFT_APPLY, 0, MSG_MAX_INLINE + 1, 1 }, 0, 1, 0 },
		{ "good, largest inline", { 1, MSG_W_NFT_APPLY, 0, MSG_MAX_INLINE, 0 },
		    MSG_MAX_INLINE, 0, 0 },
		{ "good, largest", { 1, MSG_W_NFT_APPLY, 0, MSG_MAX_BODY, 1 }, 0, 1, 0 },
		{ "version 0", { 0, MSG_W_RELEASE, 0, c, 0 }, c, 0, -EBADMSG },
		{ "version 2", { 2, MSG_W_RELEASE, 0, c, 0 }, c, 0, -EBADMSG },
		{ "type 0", { 1, 0, 0, 0, 0 }, 0, 0, -EBADMSG },
		{ "type in a gap", { 1, MSG_KEEP_HELLO - 1, 0, 0, 0 }, 0, 0, -EBADMSG },
		{ "type past the end", { 1, MSG_TYPE_MAX_, 0, 0, 0 }, 0, 0, -EBADMSG },
		{ "largest type", { 1, 65535, 0, 0, 0 }, 0, 0, -EBADMSG },
		{ "body too short", { 1, MSG_W_RELEASE, 0, c - 1, 0 }, c - 1, 0, -EBADMSG },
		{ "body too long", { 1, MSG_W_RELEASE, 0, c + 1, 0 }, c + 1, 0, -EBADMSG },
		{ "body cut", { 1, MSG_W_RELEASE, 0, c, 0 }, c - 1, 0, -EBADMSG },
		{ "bytes behind the body", { 1, MSG_W_RELEASE, 0, c, 0 }, c + 1, 0, -EBADMSG },
		{ "half an element", { 1, MSG_CAP_EVENTS, 0, e + e / 2, 0 }, e + e / 2, 0,
		    -EBADMSG },
		{ "no element", { 1, MSG_CAP_EVENTS, 0, 0, 0 }, 0, 0, -EBADMSG },
		{ "over the maximum", { 1, MSG_W_NFT_APPLY, 0, MSG_MAX_BODY + 1, 1 }, 0, 1,
		    -EBADMSG },
		{ "largest length", { 1, MSG_W_NFT_APPLY, 0, UINT32_MAX, 1 }, 0, 1, -EBADMSG },
		{ "large but inline", { 1, MSG_W_NFT_APPLY, 0, MSG_MAX_INLINE + 1, 0 },
		    MSG_MAX_INLINE + 1, 0, -EBADMSG },
		{ "small but in a memfd", { 1, MSG_W_RELEASE, 0, c, 1 }, 0, 1, -EBADMSG },
		{ "memfd without fd", { 1, MSG_W_NFT_APPLY, 0, MSG_MAX_INLINE + 1, 1 }, 0, 0,
		    -EBADMSG },
		{ "memfd and inline bytes", { 1, MSG_W_NFT_APPLY, 0, MSG_MAX_INLINE + 1, 1 }, 8, 1,
		    -EBADMSG },
		{ "memfd flag 2", { 1, MSG_W_RELEASE, 0, c, 2 }, c, 0, -EBADMSG },
		{ "an fd too many", { 1, MSG_W_RELEASE, 0, c, 0 }, c, 1, -EBADMSG },
		{ "an fd beside the memfd", { 1, MSG_W_NFT_APPLY, 0, MSG_MAX_INLINE + 1, 1 }, 0, 2,
		    -EBADMSG },
		{ "no fd", { 1, MSG_SUP_LISTEN, 0, 0, 0 }, 0, 0, -EBADMSG },
		{ "very many fds", { 1, MSG_SUP_LISTEN, 0, 0, 0 }, 0, SIZE_MAX, -EBADMSG },
	};
	struct msg_header h;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		memcpy(buf, &t[i].h, sizeof(t[i].h));
		if (msg_check(buf, sizeof(h) + t[i].body, t[i].n_fds, &h) != t[i].ret)
			fail_msg("%s: expected %d", t[i].why, t[i].ret);
	}
	for (i = 0; i < sizeof(h); i++)
		assert_int_equal(msg_check(none, MIN(i, sizeof(none)), 0, &h), -EBADMSG);
}

static void
a_message_arrives_as_it_was_sent(void **state)
{
	struct cap_nflog out = { .cookie = 42, .group = 7 };
	int s[2], before = open_fds();
	struct msg m;

	pair(s);
	assert_int_equal(msg_recv(s[1], &m), 0);
	assert_int_equal(msg_send(s[0], MSG_CAP_NFLOG, 9, &out, sizeof(out), &s[0], 1), 0);
	assert_int_equal(msg_recv(s[1], &m), 1);
	assert_int_equal(m.h.type, MSG_CAP_NFLOG);
	assert_int_equal(m.h.seq, 9);
	assert_int_equal(m.n_fds, 1);
	assert_int_equal(fcntl(m.fds[0], F_GETFD), FD_CLOEXEC);
	assert_memory_equal(m.body, &out, sizeof(out));
	msg_done(&m);
	close(s[0]);
	assert_int_equal(msg_recv(s[1], &m), -ECONNRESET);
	close(s[1]);
	assert_int_equal(open_fds(), before);
}

static void
a_large_body_arrives_by_memfd(void **state)
{
	size_t len = MSG_MAX_INLINE * 3;
	uint8_t *body = malloc(len);
	int s[2], before = open_fds();
	struct msg m;
	size_t i;

	for (i = 0; i < len; i++)
		body[i] = (uint8_t)(i * 31);
	pair(s);
	assert_int_equal(msg_send(s[0], MSG_W_NFT_APPLY, 1, body, len, NULL, 0), 0);
	assert_int_equal(msg_recv(s[1], &m), 1);
	assert_int_equal(m.h.body_len, len);
	assert_int_equal(m.n_fds, 0);
	assert_memory_equal(m.body, body, len);
	msg_done(&m);
	unpair(s);
	assert_int_equal(open_fds(), before);
	free(body);
}

static void
the_sender_refuses_what_the_receiver_would(void **state)
{
	struct w_cookie c = { 1 };
	int s[2];

	pair(s);
	assert_int_equal(msg_send(s[0], MSG_W_RELEASE, 0, &c, 4, NULL, 0), -EBADMSG);
	assert_int_equal(msg_send(s[0], MSG_W_RELEASE, 0, &c, sizeof(c), s, 1), -EBADMSG);
	assert_int_equal(msg_send(s[0], 9999, 0, NULL, 0, NULL, 0), -EBADMSG);
	assert_int_equal(
	    msg_send(s[0], MSG_W_NFT_APPLY, 0, &c, (size_t)MSG_MAX_BODY + 1, NULL, 0), -EMSGSIZE);
	unpair(s);
}

static void
a_bad_memfd_is_refused(void **state)
{
	const struct msg_header h = { MSG_VERSION, MSG_W_NFT_APPLY, 0, MSG_MAX_INLINE + 10, 1 };
	static const struct {
		const char *why;
		off_t size;
		int seals, ret;
	} t[] = {
		{ "good", MSG_MAX_INLINE + 10, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, 1 },
		{ "no seals", MSG_MAX_INLINE + 10, 0, -EBADMSG },
		{ "may shrink", MSG_MAX_INLINE + 10, F_SEAL_GROW | F_SEAL_WRITE, -EBADMSG },
		{ "may grow", MSG_MAX_INLINE + 10, F_SEAL_SHRINK | F_SEAL_WRITE, -EBADMSG },
		{ "may be written", MSG_MAX_INLINE + 10, F_SEAL_SHRINK | F_SEAL_GROW, -EBADMSG },
		{ "too short", 100, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, -EBADMSG },
		{ "too long", MSG_MAX_INLINE + 11, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE,
		    -EBADMSG },
	};
	int s[2], before = open_fds(), fd;
	struct msg m;
	size_t i;

	pair(s);
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		int r;

		fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		assert_int_equal(ftruncate(fd, t[i].size), 0);
		assert_int_equal(fcntl(fd, F_ADD_SEALS, t[i].seals), 0);
		send_raw(s[0], &h, NULL, 0, &fd, 1);
		close(fd);
		r = msg_recv(s[1], &m);
		if (r != t[i].ret)
			fail_msg("%s: expected %d, got %d", t[i].why, t[i].ret, r);
		if (r == 1)
			msg_done(&m);
	}
	/* Not a memfd at all. */
	fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	send_raw(s[0], &h, NULL, 0, &fd, 1);
	close(fd);
	assert_int_equal(msg_recv(s[1], &m), -EBADMSG);
	unpair(s);
	assert_int_equal(open_fds(), before);
}

static void
fds_of_a_refused_message_are_closed(void **state)
{
	struct msg_header h = { MSG_VERSION, MSG_W_SCANNED, 0, 0, 0 };
	int s[2], before = open_fds(), many[16];
	struct msg m;
	size_t i, n;

	pair(s);
	for (i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = s[0];
	/* One, all that fit, one more than fits, many more. */
	for (n = 1; n <= ARRAY_SIZE(many); n++) {
		send_raw(s[0], &h, NULL, 0, many, n);
		assert_int_equal(msg_recv(s[1], &m), -EBADMSG);
	}
	h.version = 9;
	send_raw(s[0], &h, NULL, 0, many, 1);
	assert_int_equal(msg_recv(s[1], &m), -EBADMSG);
	unpair(s);
	assert_int_equal(open_fds(), before);
}

static void
a_datagram_longer_than_any_message_is_refused(void **state)
{
	struct msg_header h = { MSG_VERSION, MSG_W_NFT_APPLY, 0, MSG_MAX_INLINE, 0 };
	static uint8_t body[MSG_MAX_INLINE + 1];
	struct msg m;
	int s[2];

	pair(s);
	send_raw(s[0], &h, body, sizeof(body), NULL, 0);
	assert_int_equal(msg_recv(s[1], &m), -EBADMSG);
	unpair(s);
}

static void
a_full_socket_says_so_and_loses_nothing(void **state)
{
	struct w_cookie c = { 0 };
	uint64_t sent = 0, got = 0;
	struct msg m;
	int s[2], r;

	pair(s);
	for (;;) {
		c.cookie = sent;
		r = msg_send(s[0], MSG_W_RELEASE, 0, &c, sizeof(c), NULL, 0);
		if (r < 0)
			break;
		sent++;
		assert_true(sent < 100000);
	}
	assert_int_equal(r, -EAGAIN);
	while (msg_recv(s[1], &m) == 1) {
		memcpy(&c, m.body, sizeof(c));
		assert_int_equal(c.cookie, got);
		got++;
		msg_done(&m);
	}
	assert_int_equal(got, sent);
	unpair(s);
}

/* The table itself: what would let one role play another. */
static void
only_the_named_ends_may_pass_a_type(void **state)
{
	unsigned type, from, to, passes;

	assert_true(msg_may_pass(MSG_W_NFT_APPLY, ROLE_CONTROLLER, ROLE_WARDEN));
	assert_false(msg_may_pass(MSG_W_NFT_APPLY, ROLE_CAPTURE, ROLE_WARDEN));
	assert_false(msg_may_pass(MSG_W_NETNS, ROLE_DISCOVERY, ROLE_CONTROLLER));
	assert_false(msg_may_pass(MSG_KEEP_STOP, ROLE_WARDEN, ROLE_KEEPER));
	assert_false(msg_may_pass(MSG_SUP_CHANNEL, ROLE_WARDEN, ROLE_KEEPER));
	assert_false(msg_may_pass(MSG_TYPE_MAX_, ROLE_WARDEN, ROLE_KEEPER));
	assert_false(msg_may_pass(MSG_W_NFT_APPLY, 77, 78));
	for (type = 0; type < 65536; type++) {
		const struct msg_shape *s = msg_shape_of((uint16_t)type);

		if (s == NULL)
			continue;
		assert_true(type < MSG_TYPE_MAX_);
		assert_true(s->min <= s->max && s->max <= MSG_MAX_BODY);
		assert_true(s->min_fds <= s->max_fds && s->max_fds < MSG_MAX_FDS);
		passes = 0;
		for (from = 0; from < ROLE_COUNT_; from++) {
			for (to = 0; to < ROLE_COUNT_; to++)
				passes += msg_may_pass((uint16_t)type, from, to);
		}
		assert_true(passes > 0);
		/* What a role that parses hostile bytes may say at all. */
		if (s->from & (1u << ROLE_CAPTURE))
			assert_true((s->to & (1u << ROLE_WARDEN)) == 0);
		if (s->from & (1u << ROLE_DISCOVERY))
			assert_true((s->to & (1u << ROLE_WARDEN)) == 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_wrong_header_is_refused),
		cmocka_unit_test(a_message_arrives_as_it_was_sent),
		cmocka_unit_test(a_large_body_arrives_by_memfd),
		cmocka_unit_test(the_sender_refuses_what_the_receiver_would),
		cmocka_unit_test(a_bad_memfd_is_refused),
		cmocka_unit_test(fds_of_a_refused_message_are_closed),
		cmocka_unit_test(a_datagram_longer_than_any_message_is_refused),
		cmocka_unit_test(a_full_socket_says_so_and_loses_nothing),
		cmocka_unit_test(only_the_named_ends_may_pass_a_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
