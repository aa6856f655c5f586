/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg-keeper: holds fds of the warden while all others die, restart or are replaced. It owns a
 * list of {cookie, kind, value, fd} and nothing else; it never uses an fd, nor knows what it is.
 *
 * The supervisor connects to the listening socket (fd 3), says HELLO and hands over the keeper's
 * end of the warden's channel; a new one replaces the old. Only uid 0 may connect. It ends at
 * KEEP_STOP or SIGTERM, never because someone left.
 */
#include "config.h"
#include "daemon/log.h"
#include "daemon/msg.h"
#include "daemon/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define MAX_SUPERVISORS 4
/* fds that are not items: stdio, sockets, one message's worth in flight. */
#define FD_RESERVE 32
#define MSGS_PER_TURN 64

struct conn {
	int fd; /* -1: none */
	bool greeted;
};

struct kept {
	struct keep_item item;
	int fd;
};

struct keeper {
	char instance[16];
	struct conn warden, sups[MAX_SUPERVISORS];
	struct kept *items; /* in order of arrival */
	size_t n_items, max_items;
	bool listing; /* a LIST is being answered, from list_next on */
	uint32_t list_seq;
	size_t list_next;
	bool list_waits; /* the socket is full */
	bool stop;
};

static void
conn_close(struct conn *p)
{
	close_fd(&p->fd);
	p->greeted = false;
}

static void
warden_close(struct keeper *k)
{
	conn_close(&k->warden);
	k->listing = false;
}

static bool
hello_matches(const struct keeper *k, const struct keep_hello *h)
{
	return h->version == KEEP_VERSION && memcmp(h->instance, k->instance, 16) == 0;
}

/* False: the peer speaks for another instance or version; it has our answer and is closed. */
static bool
hello_answer(struct keeper *k, struct conn *p, const struct msg *m)
{
	struct keep_hello mine = { .version = KEEP_VERSION };

	memcpy(mine.instance, k->instance, sizeof(mine.instance));
	if (msg_send(p->fd, MSG_KEEP_HELLO, m->h.seq, &mine, sizeof(mine), NULL, 0) < 0)
		return false;
	p->greeted = hello_matches(k, (const struct keep_hello *)m->body);
	if (!p->greeted)
		log_warn("a peer of another version or instance was turned away");
	return p->greeted;
}

static ssize_t
item_find(const struct keeper *k, const struct keep_item *it)
{
	size_t i;

	for (i = 0; i < k->n_items; i++) {
		if (k->items[i].item.cookie == it->cookie && k->items[i].item.kind == it->kind)
			return (ssize_t)i;
	}
	return -1;
}

static bool
item_put(struct keeper *k, struct msg *m)
{
	const struct keep_item *it = (const struct keep_item *)m->body;
	ssize_t at = item_find(k, it);

	if (it->kind != KEEP_OWNER && it->kind != KEEP_NFLOG)
		return false;
	if (at >= 0) {
		close(k->items[at].fd);
	} else if (k->n_items == k->max_items) {
		log_warn("%zu fds are held, no room for another", k->n_items);
		return msg_send(k->warden.fd, MSG_KEEP_DROP, m->h.seq, it, sizeof(*it), NULL, 0) ==
		       0;
	} else {
		at = (ssize_t)k->n_items++;
	}
	k->items[at].item = *it;
	k->items[at].fd = steal_fd(&m->fds[0]);
	return true;
}

static void
item_drop(struct keeper *k, const struct keep_item *it)
{
	ssize_t at = item_find(k, it);

	if (at < 0)
		return;
	close(k->items[at].fd);
	k->n_items--;
	memmove(&k->items[at], &k->items[at + 1], (k->n_items - (size_t)at) * sizeof(k->items[0]));
	if (k->listing && (size_t)at < k->list_next)
		k->list_next--;
}

/* Sends items until the socket is full; the rest when it is not. */
static void
list_continue(struct keeper *k)
{
	int r = 0;

	k->list_waits = false;
	while (k->listing && r == 0) {
		if (k->list_next == k->n_items) {
			r = msg_send(k->warden.fd, MSG_KEEP_END, k->list_seq, NULL, 0, NULL, 0);
			if (r == 0)
				k->listing = false;
		} else {
			const struct kept *e = &k->items[k->list_next];

			r = msg_send(k->warden.fd, MSG_KEEP_ITEM, k->list_seq, &e->item,
			    sizeof(e->item), &e->fd, 1);
			if (r == 0)
				k->list_next++;
		}
	}
	if (r == -EAGAIN)
		k->list_waits = true;
	else if (r < 0 && r != -ETOOMANYREFS && r != -ENOBUFS && r != -ENOMEM)
		warden_close(k);
}

/* False: refused, the channel closes. */
static bool
warden_message(struct keeper *k, struct msg *m)
{
	if (!msg_may_pass(m->h.type, ROLE_WARDEN, ROLE_KEEPER))
		return false;
	if (m->h.type == MSG_KEEP_HELLO)
		return hello_answer(k, &k->warden, m);
	if (!k->warden.greeted)
		return false;
	switch (m->h.type) {
	case MSG_KEEP_PUT:
		return item_put(k, m);
	case MSG_KEEP_DROP:
		item_drop(k, (const struct keep_item *)m->body);
		return true;
	case MSG_KEEP_LIST:
		k->listing = true;
		k->list_seq = m->h.seq;
		k->list_next = 0;
		return true;
	default:
		return false;
	}
}

static bool
supervisor_message(struct keeper *k, struct conn *p, struct msg *m)
{
	if (!msg_may_pass(m->h.type, ROLE_SUPERVISOR, ROLE_KEEPER))
		return false;
	if (m->h.type == MSG_KEEP_HELLO)
		return hello_answer(k, p, m);
	if (!p->greeted)
		return false;
	switch (m->h.type) {
	case MSG_SUP_CHANNEL:
		if (((const struct sup_channel *)m->body)->role != ROLE_WARDEN)
			return false;
		warden_close(k);
		k->warden.fd = steal_fd(&m->fds[0]);
		log_debug("a new warden, %zu fds are held", k->n_items);
		return true;
	case MSG_KEEP_STOP:
		k->stop = true;
		return true;
	default:
		return false;
	}
}

static void
warden_receive(struct keeper *k)
{
	int i;

	for (i = 0; i < MSGS_PER_TURN && k->warden.fd >= 0; i++) {
		struct msg m;
		int r = msg_recv(k->warden.fd, &m);

		if (r == 0)
			return;
		if (r < 0) {
			log_info("the warden is gone (%s), holding %zu fds",
			    r == -EBADMSG ? "refused message" : "closed", k->n_items);
			warden_close(k);
			return;
		}
		if (!warden_message(k, &m)) {
			log_warn("refused %s from the warden, channel closed",
			    msg_shape_of(m.h.type)->name);
			warden_close(k);
		}
		msg_done(&m);
	}
}

static void
supervisor_receive(struct keeper *k, struct conn *p)
{
	struct msg m;
	int r = msg_recv(p->fd, &m);

	if (r == 0)
		return;
	if (r < 0) {
		conn_close(p);
		return;
	}
	if (!supervisor_message(k, p, &m))
		conn_close(p);
	msg_done(&m);
}

static void
supervisor_accept(struct keeper *k)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	_cleanup_close_ int fd = -1;
	size_t i;

	fd = accept4(ROLE_CONTROL_FD, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || len != sizeof(cred) ||
	    cred.uid != 0) {
		log_warn("a connection that is not root's was refused");
		return;
	}
	for (i = 0; i < MAX_SUPERVISORS; i++) {
		if (k->sups[i].fd < 0) {
			k->sups[i].fd = steal_fd(&fd);
			return;
		}
	}
	log_warn("too many connections, one refused");
}

static void
keeper_run(struct keeper *k)
{
	while (!k->stop) {
		struct pollfd p[2 + MAX_SUPERVISORS];
		size_t i;

		p[0] = (struct pollfd){ ROLE_CONTROL_FD, POLLIN, 0 };
		p[1] = (struct pollfd){ k->warden.fd, POLLIN, 0 };
		if (k->list_waits)
			p[1].events |= POLLOUT;
		for (i = 0; i < MAX_SUPERVISORS; i++)
			p[2 + i] = (struct pollfd){ k->sups[i].fd, POLLIN, 0 };
		/* A list that waits for something else than room in the socket tries again soon. */
		if (poll(p, ARRAY_SIZE(p), k->listing && !k->list_waits ? 20 : -1) < 0)
			continue;
		if (p[1].revents & ~POLLOUT)
			warden_receive(k);
		if (k->listing)
			list_continue(k);
		for (i = 0; i < MAX_SUPERVISORS; i++) {
			if (p[2 + i].revents != 0)
				supervisor_receive(k, &k->sups[i]);
		}
		if (p[0].revents != 0)
			supervisor_accept(k);
	}
}

static int
keeper_init(struct keeper *k, const char *instance)
{
	struct rlimit lim;
	size_t i;

	memset(k, 0, sizeof(*k));
	memcpy(k->instance, instance, sizeof(k->instance));
	k->warden.fd = -1;
	for (i = 0; i < MAX_SUPERVISORS; i++)
		k->sups[i].fd = -1;
	if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur <= FD_RESERVE)
		return -EMFILE;
	/* Room stays to receive an fd at all, or a full keeper would refuse every message. */
	k->max_items = MIN(KEEP_MAX_ITEMS, lim.rlim_cur - FD_RESERVE);
	k->items = calloc(k->max_items, sizeof(k->items[0]));
	if (k->items == NULL)
		return -ENOMEM;
	if (fcntl(ROLE_CONTROL_FD, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(ROLE_CONTROL_FD, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int
main(int argc, char **argv)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct role_args args;
	struct keeper k;
	int r;

	role_parse_args(ROLE_KEEPER, &argc, argv, &args);
	priv_drop(ROLE_KEEPER, args.uid, args.gid);
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	r = keeper_init(&k, args.instance);
	if (r < 0) {
		log_error("cannot start: %s", strerror(-r));
		return 1;
	}
	priv_seccomp(ROLE_KEEPER);
	log_info("keeping at most %zu fds", k.max_items);
	keeper_run(&k);
	log_info("told to end, letting go of %zu fds", k.n_items);
	return 0;
}
