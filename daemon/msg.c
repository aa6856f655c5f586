/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One message out, one message in. Nothing of a received message is looked at before msg_check()
 * has held its header against the table of shapes; every fd of a refused message is closed.
 */
#include "config.h"
#include "daemon/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#define SEALS_NEEDED (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

_Static_assert(sizeof(struct msg_header) == 16, "the body stays aligned behind the header");

union fd_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int) * MSG_MAX_FDS)];
};

/* Shared by both directions: what a header promises must be what its type may carry. */
static int
header_check(const struct msg_header *h, size_t n_fds)
{
	const struct msg_shape *s;

	if (h->version != MSG_VERSION || h->in_memfd > 1)
		return -EBADMSG;
	s = msg_shape_of(h->type);
	if (s == NULL)
		return -EBADMSG;
	if (h->body_len < s->min || h->body_len > s->max || h->body_len > MSG_MAX_BODY)
		return -EBADMSG;
	if (s->unit != 0 && (h->body_len - s->min) % s->unit != 0)
		return -EBADMSG;
	/* One way to send a body of a given length, so that the other is not a second parser. */
	if ((h->body_len > MSG_MAX_INLINE) != (h->in_memfd == 1))
		return -EBADMSG;
	if (n_fds > MSG_MAX_FDS || n_fds < h->in_memfd)
		return -EBADMSG;
	n_fds -= h->in_memfd;
	if (n_fds < s->min_fds || n_fds > s->max_fds)
		return -EBADMSG;
	return 0;
}

int
msg_check(const uint8_t *buf, size_t len, size_t n_fds, struct msg_header *ret)
{
	struct msg_header h;
	int r;

	if (len < sizeof(h))
		return -EBADMSG;
	memcpy(&h, buf, sizeof(h));
	r = header_check(&h, n_fds);
	if (r < 0)
		return r;
	if (len - sizeof(h) != (h.in_memfd ? 0 : h.body_len))
		return -EBADMSG;
	*ret = h;
	return 0;
}

static int
write_all(int fd, const uint8_t *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

static int
memfd_with(const void *body, size_t len, int *ret)
{
	_cleanup_close_ int fd = -1;
	int r;

	fd = memfd_create("nanoseg", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create("nanoseg", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	r = write_all(fd, body, len);
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, SEALS_NEEDED | F_SEAL_SEAL) < 0)
		return -errno;
	*ret = steal_fd(&fd);
	return 0;
}

int
msg_send(int sock, uint16_t type, uint32_t seq, const void *body, size_t len, const int *fds,
    size_t n_fds)
{
	_cleanup_close_ int memfd = -1;
	struct msg_header h = { .version = MSG_VERSION, .type = type, .seq = seq };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)body, len } };
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };
	union fd_control ctl;
	struct cmsghdr *c;
	int all[MSG_MAX_FDS], r;
	ssize_t n;

	if (len > MSG_MAX_BODY || n_fds > MSG_MAX_FDS)
		return -EMSGSIZE;
	h.body_len = (uint32_t)len;
	h.in_memfd = len > MSG_MAX_INLINE;
	r = header_check(&h, n_fds + h.in_memfd);
	if (r < 0)
		return r;

	if (n_fds > 0)
		memcpy(all, fds, n_fds * sizeof(int));
	if (h.in_memfd) {
		r = memfd_with(body, len, &memfd);
		if (r < 0)
			return r;
		all[n_fds++] = memfd;
		mh.msg_iovlen = 1;
	}
	if (n_fds > 0) {
		memset(&ctl, 0, sizeof(ctl));
		mh.msg_control = ctl.buf;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), all, n_fds * sizeof(int));
	}
	do
		n = sendmsg(sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

void
msg_done(struct msg *m)
{
	size_t i;

	for (i = 0; i < m->n_fds; i++)
		close_fd(&m->fds[i]);
	if (m->map != NULL && m->map_len > 0)
		munmap(m->map, m->map_len);
	else
		free(m->map);
	memset(m, 0, sizeof(*m));
}

/* Takes over every fd first, so that none leaks whatever else is wrong. False: refuse. */
static bool
take_fds(struct msghdr *mh, struct msg *m)
{
	struct cmsghdr *c;
	bool clean = true;

	for (c = CMSG_FIRSTHDR(mh); c != NULL; c = CMSG_NXTHDR(mh, c)) {
		size_t i, n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
			clean = false;
			continue;
		}
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (m->n_fds < MSG_MAX_FDS) {
				m->fds[m->n_fds++] = fd;
			} else {
				close(fd);
				clean = false;
			}
		}
	}
	return clean && (mh->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
}

/* The last fd is the body: seals first, then the size, or the sender could still change it. */
static int
map_body(struct msg *m)
{
	_cleanup_close_ int fd = steal_fd(&m->fds[--m->n_fds]);
	struct stat st;
	void *map;
	int seals;

	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & SEALS_NEEDED) != SEALS_NEEDED)
		return -EBADMSG;
	if (fstat(fd, &st) < 0 || st.st_size != (off_t)m->h.body_len)
		return -EBADMSG;
	map = mmap(NULL, m->h.body_len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return -EBADMSG;
	m->map = map;
	m->map_len = m->h.body_len;
	m->body = map;
	return 0;
}

int
msg_recv(int sock, struct msg *ret)
{
	_cleanup_free_ uint8_t *buf = NULL;
	union fd_control ctl;
	struct iovec iov;
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct msg m = { 0 };
	ssize_t n;
	int r;

	/* Pages that a short message does not touch cost nothing. */
	buf = malloc(sizeof(struct msg_header) + MSG_MAX_INLINE);
	if (buf == NULL)
		return -ENOMEM;
	iov.iov_base = buf;
	iov.iov_len = sizeof(struct msg_header) + MSG_MAX_INLINE;
	mh.msg_control = ctl.buf;
	mh.msg_controllen = sizeof(ctl.buf);
	do
		n = recvmsg(sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (n < 0)
		return -errno;

	r = take_fds(&mh, &m) ? 0 : -EBADMSG;
	/* The end of the stream; an empty message looks the same and is as wrong. */
	if (r == 0 && n == 0)
		r = -ECONNRESET;
	if (r == 0)
		r = msg_check(buf, (size_t)n, m.n_fds, &m.h);
	if (r == 0 && m.h.in_memfd)
		r = map_body(&m);
	if (r < 0) {
		msg_done(&m);
		return r;
	}
	if (!m.h.in_memfd) {
		m.body = buf + sizeof(struct msg_header);
		m.map = steal_ptr(buf);
	}
	*ret = m;
	return 1;
}
