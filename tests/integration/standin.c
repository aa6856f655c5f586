/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A role program that does nothing but what every role does, for tests of the supervisor: which
 * role it is, it takes from its own name (nanoseg-warden). It says on stderr what reaches it. As
 * the warden it keeps one fd at the keeper.
 */
#include "config.h"
#include "daemon/log.h"
#include "daemon/role.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

struct standin {
	struct role_loop loop;
	char instance[16];
	int raw; /* what a capture role opens before it drops */
	unsigned listed;
};

static enum role
role_by_name(const char *argv0)
{
	const char *base = strrchr(argv0, '/');
	int r;

	base = base == NULL ? argv0 : base + 1;
	for (r = ROLE_WARDEN; r < ROLE_COUNT_; r++) {
		if (strncmp(base, "nanoseg-", 8) == 0 &&
		    strcmp(base + 8, role_name((enum role)r)) == 0)
			return (enum role)r;
	}
	exit(2);
}

static void
on_peer(void *arg, enum role peer, struct chan *c)
{
	struct standin *s = arg;
	struct keep_hello hello = { .version = KEEP_VERSION };

	log_info("peer %s", role_name(peer));
	if (peer != ROLE_KEEPER)
		return;
	s->listed = 0;
	memcpy(hello.instance, s->instance, sizeof(hello.instance));
	role_send(&s->loop, ROLE_KEEPER, MSG_KEEP_HELLO, 1, &hello, sizeof(hello));
	role_send(&s->loop, ROLE_KEEPER, MSG_KEEP_LIST, 2, NULL, 0);
}

static void
on_peer_gone(void *arg, enum role peer)
{
	log_info("peer gone %s", role_name(peer));
}

static void
on_msg(void *arg, enum role peer, struct msg *m)
{
	struct standin *s = arg;
	struct keep_item item = { .cookie = 7, .kind = KEEP_OWNER, .value = 1 };
	int fd;

	if (m->h.type == MSG_KEEP_ITEM)
		s->listed++;
	if (m->h.type != MSG_KEEP_END)
		return;
	log_info("keeper holds %u", s->listed);
	fd = memfd_create("kept", MFD_CLOEXEC);
	if (fd < 0 ||
	    chan_send(s->loop.peers[ROLE_KEEPER], MSG_KEEP_PUT, 3, &item, sizeof(item), &fd, 1) < 0)
		log_error("cannot keep an fd");
	close_fd(&fd);
}

static void
on_listen(void *arg, int fd)
{
	log_info("listening socket");
	close(fd);
}

int
main(int argc, char **argv)
{
	static struct standin s = { .raw = -1 };
	enum role self = role_by_name(argv[0]);
	const struct timespec closing = { 0, 100000000 };
	struct role_args args;
	int r;

	if (argc > 2 && strcmp(argv[1], "--cleanup") == 0) {
		log_info("cleanup of %s", strcmp(argv[2], "--all") == 0 ? "all" : argv[argc - 1]);
		return 0;
	}
	role_parse_args(self, &argc, argv, &args);
	if (argc > 1 && strcmp(argv[1], "--check") == 0)
		return 0;
	memcpy(s.instance, args.instance, sizeof(s.instance));
	if (self == ROLE_CAPTURE) {
		priv_drop_opening(self, args.uid, args.gid);
		s.raw = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
		if (s.raw < 0)
			log_error("no packet socket: %s", strerror(errno));
		close_fd(&s.raw);
	}
	priv_drop(self, args.uid, args.gid);
	if (role_loop_init(&s.loop, self) < 0)
		return 1;
	priv_seccomp(self);
	s.loop.arg = &s;
	s.loop.on_peer = on_peer;
	s.loop.on_peer_gone = on_peer_gone;
	s.loop.on_msg = on_msg;
	s.loop.on_listen = on_listen;
	if (self == ROLE_CONTROLLER)
		(void)chan_send(s.loop.control, MSG_SUP_WATCHING, 0, NULL, 0, NULL, 0);
	r = role_loop_run(&s.loop);
	/* Time that a real role takes to close its store. */
	nanosleep(&closing, NULL);
	return r;
}
