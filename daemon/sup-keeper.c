/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The supervisor's side of the keeper: reaches the one that lives, or starts one outside its own
 * session and process group. The keeper is nobody's child here: it must outlive us.
 */
#include "config.h"
#include "daemon/supervisor.h"

#include "daemon/log.h"
#include "daemon/msg.h"
#include "daemon/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define ANSWER_MS 500
#define END_MS 3000
#define KEEPER_LOCK_FD 4

static int
wait_answer(int fd, struct msg *ret)
{
	struct pollfd p = { fd, POLLIN, 0 };
	int r;

	r = poll(&p, 1, ANSWER_MS);
	if (r < 0)
		return -errno;
	if (r == 0)
		return -ETIMEDOUT;
	r = msg_recv(fd, ret);
	return r == 0 ? -ETIMEDOUT : MIN(r, 0);
}

/* Connects and exchanges HELLO. -ENOENT or -ECONNREFUSED: nobody listens. */
static int
keeper_greet(const struct sup_config *cfg, int *ret_fd)
{
	struct keep_hello mine = { .version = KEEP_VERSION };
	const struct keep_hello *its;
	_cleanup_close_ int fd = -1;
	struct msg m;
	int r;

	r = place_connect(cfg->keeper_path, SOCK_SEQPACKET, &fd);
	if (r < 0)
		return r;
	memcpy(mine.instance, cfg->instance, sizeof(mine.instance));
	r = msg_send(fd, MSG_KEEP_HELLO, 1, &mine, sizeof(mine), NULL, 0);
	if (r == 0)
		r = wait_answer(fd, &m);
	/* Another version of the messages themselves shows as a refusal, here or there. */
	if (r == -EBADMSG || r == -ECONNRESET || r == -EPIPE)
		return -EPROTONOSUPPORT;
	if (r < 0)
		return r;
	its = (const struct keep_hello *)m.body;
	if (m.h.type != MSG_KEEP_HELLO || its->version != KEEP_VERSION ||
	    memcmp(its->instance, cfg->instance, sizeof(mine.instance)) != 0)
		r = -EPROTONOSUPPORT;
	msg_done(&m);
	if (r == 0)
		*ret_fd = steal_fd(&fd);
	return r;
}

static void
keeper_exec(const struct sup_config *cfg, int listen_fd, int lock_fd)
{
	const char *argv[2] = { NULL, NULL };

	/* Above the numbers they get, so that neither overwrites the other. */
	listen_fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 10);
	lock_fd = fcntl(lock_fd, F_DUPFD_CLOEXEC, 10);
	if (listen_fd < 0 || lock_fd < 0 || ftruncate(lock_fd, 0) < 0 ||
	    dprintf(lock_fd, "%d\n", (int)getpid()) < 0)
		_exit(127);
	/* Its lines go to a file: holding our terminal or pipe would keep that open for years. */
	if (dup2(cfg->keeper_log_fd, STDERR_FILENO) < 0 || dup2(listen_fd, ROLE_CONTROL_FD) < 0 ||
	    dup2(lock_fd, KEEPER_LOCK_FD) < 0)
		_exit(127);
	sup_exec(cfg, ROLE_KEEPER, KEEPER_LOCK_FD + 1, argv);
}

static int
keeper_start(const struct sup_config *cfg)
{
	_cleanup_close_ int lock_fd = -1, listen_fd = -1;
	pid_t pid, old = 0;
	int r;

	r = place_lock_keeper(cfg->keeper_lock_fd, &lock_fd, &old);
	if (r == -EBUSY) {
		log_error("a keeper of this instance (pid %d) lives but does not listen at %s; was "
			  "it started with another --socket? Not starting a second one",
		    (int)old, cfg->keeper_path);
		return r;
	}
	if (r < 0)
		return r;
	r = place_listen(cfg->keeper_path, SOCK_SEQPACKET, 0, 0600, &listen_fd);
	if (r < 0)
		return r;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		if (setsid() < 0)
			_exit(127);
		if (fork() == 0)
			keeper_exec(cfg, listen_fd, lock_fd);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	log_info("keeper started");
	return 0;
}

int
sup_keeper_hand(const struct sup_config *cfg, int end)
{
	const struct sup_channel sc = { .role = ROLE_WARDEN };
	_cleanup_close_ int fd = -1;
	int r;

	r = keeper_greet(cfg, &fd);
	if (r == -ENOENT || r == -ECONNREFUSED) {
		r = keeper_start(cfg);
		if (r < 0)
			return r;
		r = keeper_greet(cfg, &fd);
	}
	if (r == -EPROTONOSUPPORT)
		log_error(
		    "the keeper speaks another version than %d: it stays and holds what it has, "
		    "the warden runs without it",
		    KEEP_VERSION);
	if (r < 0)
		return r;
	return msg_send(fd, MSG_SUP_CHANNEL, 0, &sc, sizeof(sc), &end, 1);
}

int
sup_keeper_stop(const struct sup_config *cfg)
{
	_cleanup_close_ int fd = -1;
	int waited, r;

	if (keeper_greet(cfg, &fd) == 0)
		(void)msg_send(fd, MSG_KEEP_STOP, 0, NULL, 0, NULL, 0);
	for (waited = 0; waited < END_MS; waited += 20) {
		_cleanup_close_ int lock_fd = -1;
		struct timespec pause = { 0, 20000000 };
		pid_t pid = 0;

		r = place_lock_keeper(cfg->keeper_lock_fd, &lock_fd, &pid);
		if (r == 0) {
			unlink(cfg->keeper_path);
			return 0;
		}
		if (r != -EBUSY)
			return r;
		/* One that no socket reaches; the lock proves that the number is still its own. */
		if (pid > 1 && (fd < 0 || waited >= END_MS / 2))
			kill(pid, SIGTERM);
		nanosleep(&pause, NULL);
	}
	log_error("the keeper of instance %s does not end", cfg->instance);
	return -ETIMEDOUT;
}
