/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as a role might get them from another: the first says how many fds came along, the rest is
 * the datagram. The pure check and the receiver must agree.
 */
#include "config.h"
#include "daemon/msg.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int s[2] = { -1, -1 };
	struct msg_header h;
	struct msg m;
	int checked, r;

	if (size < 2 || size > MSG_MAX_INLINE)
		return 0;
	if (s[0] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0)
		return 0;
	r = msg_check(data + 1, size - 1, data[0], &h);
	assert(r == 0 || r == -EBADMSG);
	if (r == 0) {
		const struct msg_shape *shape = msg_shape_of(h.type);

		assert(shape != NULL && h.version == MSG_VERSION);
		assert(h.body_len >= shape->min && h.body_len <= shape->max);
		assert(h.in_memfd == 1 || h.body_len == size - 1 - sizeof(h));
	}

	checked = msg_check(data + 1, size - 1, 0, &h);
	if (send(s[0], data + 1, size - 1, MSG_DONTWAIT) != (ssize_t)size - 1)
		return 0;
	r = msg_recv(s[1], &m);
	assert((checked == 0) == (r == 1));
	if (r == 1) {
		volatile uint8_t last = 0;

		if (m.h.body_len > 0)
			last = m.body[m.h.body_len - 1];
		(void)last;
		assert(m.n_fds == 0);
		msg_done(&m);
	}
	return 0;
}
