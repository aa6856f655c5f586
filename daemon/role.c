/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A role's life on the event loop: the control channel to the supervisor and the channels to other
 * roles. A role lives as long as its control channel.
 */
#include "config.h"
#include "daemon/log.h"
#include "daemon/role.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

/* What a peer's channel carries as its argument. */
struct role_link {
	struct role_loop *loop;
	enum role peer;
};

static void
loop_end(struct role_loop *l, int status)
{
	if (l->stopped)
		return;
	l->stopped = true;
	l->status = status;
	if (l->on_stop != NULL)
		l->on_stop(l->arg);
	event_base_loopexit(l->base, NULL);
}

static void
peer_drop(struct role_loop *l, enum role peer)
{
	struct chan *c = steal_ptr(l->peers[peer]);

	if (c == NULL)
		return;
	chan_free(c);
	if (l->on_peer_gone != NULL)
		l->on_peer_gone(l->arg, peer);
}

static void
peer_lost(struct role_loop *l, enum role peer)
{
	struct sup_channel lost = { .role = peer, .serial = l->serials[peer] };

	peer_drop(l, peer);
	/* The supervisor makes a new one, unless the peer is dead: then it does so anyway. */
	(void)chan_send(l->control, MSG_SUP_LOST, 0, &lost, sizeof(lost), NULL, 0);
}

static void
on_peer_msg(void *arg, struct chan *c, struct msg *m)
{
	struct role_link *link = arg;
	struct role_loop *l = link->loop;

	if (!msg_may_pass(m->h.type, link->peer, l->self)) {
		log_error("%s sent %s, which is not its to send; closing the channel",
		    role_name(link->peer), msg_shape_of(m->h.type)->name);
		peer_lost(l, link->peer);
		return;
	}
	if (l->on_msg != NULL)
		l->on_msg(l->arg, link->peer, m);
}

static void
on_peer_closed(void *arg, struct chan *c, int error)
{
	struct role_link *link = arg;

	if (error == -ECONNRESET)
		log_debug("channel to %s closed", role_name(link->peer));
	else
		log_error("channel to %s refused and closed: %s", role_name(link->peer),
		    strerror(-error));
	peer_lost(link->loop, link->peer);
}

static void
peer_take(struct role_loop *l, struct msg *m)
{
	const struct sup_channel *sc = (const struct sup_channel *)m->body;
	enum role peer = (enum role)sc->role;
	struct chan *c;
	int r;

	if (sc->role >= ROLE_COUNT_ || sc->role <= ROLE_SUPERVISOR || peer == l->self) {
		log_warn("a channel to role %u: ignored", sc->role);
		return;
	}
	peer_drop(l, peer);
	l->serials[peer] = sc->serial;
	if (l->links[peer] == NULL)
		l->links[peer] = calloc(1, sizeof(struct role_link));
	if (l->links[peer] == NULL) {
		log_error("no memory for the channel to %s; ending", role_name(peer));
		loop_end(l, 1);
		return;
	}
	l->links[peer]->loop = l;
	l->links[peer]->peer = peer;
	r = chan_new(
	    l->base, steal_fd(&m->fds[0]), on_peer_msg, on_peer_closed, l->links[peer], &c);
	if (r < 0) {
		log_error("channel to %s: %s; ending", role_name(peer), strerror(-r));
		loop_end(l, 1);
		return;
	}
	l->peers[peer] = c;
	log_debug("channel to %s", role_name(peer));
	if (l->on_peer != NULL)
		l->on_peer(l->arg, peer, c);
}

static void
on_control_msg(void *arg, struct chan *c, struct msg *m)
{
	struct role_loop *l = arg;

	if (!msg_may_pass(m->h.type, ROLE_SUPERVISOR, l->self)) {
		log_warn("%s from the supervisor: ignored", msg_shape_of(m->h.type)->name);
		return;
	}
	switch (m->h.type) {
	case MSG_SUP_CHANNEL:
		peer_take(l, m);
		break;
	case MSG_SUP_LISTEN:
		if (l->on_listen != NULL)
			l->on_listen(l->arg, steal_fd(&m->fds[0]));
		break;
	case MSG_SUP_CONFIG:
		if (l->on_config != NULL)
			l->on_config(l->arg, m);
		break;
	case MSG_SUP_STOP:
		loop_end(l, 0);
		break;
	default:
		break;
	}
}

static void
on_control_closed(void *arg, struct chan *c, int error)
{
	struct role_loop *l = arg;

	log_info("the supervisor is gone; ending");
	loop_end(l, error == -ECONNRESET ? 0 : 1);
}

static void
on_sigterm(evutil_socket_t sig, short what, void *arg)
{
	loop_end(arg, 0);
}

int
role_loop_init(struct role_loop *l, enum role self)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	int r;

	memset(l, 0, sizeof(*l));
	l->self = self;
	/* An interrupt from a terminal reaches the whole group: the supervisor ends us in order. */
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	/* What the event library gives back at the end: nothing interrupts a last write. */
	sigaction(SIGTERM, &ignore, NULL);
	if (fcntl(ROLE_CONTROL_FD, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	l->base = event_base_new();
	if (l->base == NULL)
		return -ENOMEM;
	l->sigterm = evsignal_new(l->base, SIGTERM, on_sigterm, l);
	if (l->sigterm == NULL || event_add(l->sigterm, NULL) < 0)
		return -ENOMEM;
	r = chan_new(l->base, ROLE_CONTROL_FD, on_control_msg, on_control_closed, l, &l->control);
	return r;
}

int
role_loop_run(struct role_loop *l)
{
	int i, r;

	r = l->unready ? 0 : chan_send(l->control, MSG_SUP_READY, 0, NULL, 0, NULL, 0);
	if (r < 0 && r != -ENOTCONN)
		log_warn("cannot tell the supervisor that we run: %s", strerror(-r));
	if (!l->stopped && event_base_dispatch(l->base) < 0)
		l->status = 1;
	for (i = 0; i < ROLE_COUNT_; i++) {
		chan_free(l->peers[i]);
		l->peers[i] = NULL;
		free(l->links[i]);
		l->links[i] = NULL;
	}
	chan_free(l->control);
	l->control = NULL;
	event_free(l->sigterm);
	l->sigterm = NULL;
	/* The base stays: events of the role may still hang on it. */
	return l->status;
}

int
role_send(
    struct role_loop *l, enum role peer, uint16_t type, uint32_t seq, const void *body, size_t len)
{
	if ((unsigned)peer >= ROLE_COUNT_ || l->peers[peer] == NULL)
		return -ENOTCONN;
	return chan_send(l->peers[peer], type, seq, body, len, NULL, 0);
}
