/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of roles and the table of channels, and one poll loop over them. A role that dies is
 * started again after a pause that doubles; its channels are made anew and both ends handed out,
 * the survivors never restart. Timers are deadlines on CLOCK_MONOTONIC, looked at once a turn.
 */
#include "config.h"
#include "daemon/supervisor.h"

#include "daemon/log.h"
#include "daemon/msg.h"
#include "daemon/notify.h"
#include "daemon/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define LIFE_RESET_MS 30000
#define STOP_MS 5000
#define GONE_MS 2000	   /* from closing the control channel to being killed */
#define REMAKE_MS 200	   /* a death shows as a broken channel first */
#define RELOAD_MS 100	   /* between two signals that ask for it */
#define KEEPER_MIN_MS 1000 /* between attempts to reach the keeper */
#define KEEPER_MAX_MS 60000
#define NEVER UINT64_MAX
#define MAX_MSGS 32

struct child {
	pid_t pid;   /* 0: not running */
	int control; /* -1: none */
	bool ready;
	uint64_t started, start_at, kill_at;
	unsigned backoff_ms;
};

struct link {
	enum role a, b;
	uint32_t serial;
	uint64_t make_at;
	unsigned retry_ms;
};

static const enum role started[] = { ROLE_WARDEN, ROLE_CONTROLLER, ROLE_CAPTURE, ROLE_RELAY,
	ROLE_DISCOVERY, ROLE_HERALD };

struct supervisor {
	const struct sup_config *cfg;
	struct child children[ROLE_COUNT_];
	struct link links[7];
	uint32_t serial;
	bool stopping, said_ready;
	bool herald_wanted;
	bool watching; /* the controller has the first scan, and answers the gate */
	uint64_t stop_at;
	struct sup_reload hup; /* who asked last */
	uint64_t reload_at, reloaded;
};

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
child_exec(const struct supervisor *s, enum role r, int control)
{
	const struct sup_config *c = s->cfg;
	const char *argv[12] = { NULL };
	char docker[PATH_MAX], podman[PATH_MAX], probe[32];
	size_t n = 0;

	if (r == ROLE_CONTROLLER) {
		argv[n++] = "--state-dir";
		argv[n++] = c->state_dir;
		argv[n++] = "--config";
		argv[n++] = c->config;
		argv[n++] = "--socket";
		argv[n++] = c->socket;
		if (c->only != NULL) {
			argv[n++] = "--only";
			argv[n++] = c->only;
		}
		if (s->children[r].started != 0)
			argv[n++] = "--again";
	}
	if (r == ROLE_WARDEN) {
		snprintf(
		    probe, sizeof(probe), "%u:%u", c->ids.uid[ROLE_PROBE], c->ids.gid[ROLE_PROBE]);
		argv[n++] = "--probe";
		argv[n++] = probe;
	}
	if (r == ROLE_WARDEN && c->without_owner)
		argv[n++] = "--without-owner";
	/* The same list in the same order: the two speak of engines by index. */
	if (r == ROLE_RELAY || r == ROLE_DISCOVERY) {
		snprintf(docker, sizeof(docker), "docker=%s", c->docker_socket);
		snprintf(podman, sizeof(podman), "podman=%s", c->podman_socket);
		argv[n++] = "--engine";
		argv[n++] = docker;
		argv[n++] = "--engine";
		argv[n++] = podman;
	}
	if (r == ROLE_HERALD) {
		argv[n++] = "--config";
		argv[n++] = c->config;
	}
	if (r == ROLE_RELAY) {
		argv[n++] = "--docker-root";
		argv[n++] = c->docker_root;
	}
	if (control == ROLE_CONTROL_FD)
		(void)fcntl(control, F_SETFD, 0);
	else if (dup2(control, ROLE_CONTROL_FD) < 0)
		_exit(127);
	sup_exec(c, r, ROLE_CONTROL_FD + 1, argv);
}

/* A role that does not take its messages is as good as dead. */
static int
control_send(struct supervisor *s, enum role r, uint16_t type, const void *body, size_t len, int fd)
{
	struct child *c = &s->children[r];
	int e;

	if (c->control < 0)
		return -ENOTCONN;
	e = msg_send(c->control, type, 0, body, len, &fd, fd >= 0);
	if (e == -EAGAIN && c->pid > 0) {
		log_error("%s does not read its control channel; killing it", role_name(r));
		kill(c->pid, SIGKILL);
	}
	return e;
}

/* The controller reads what is in it: it has no privilege, so it could not open it. */
static void
config_hand(struct supervisor *s, struct sup_reload f)
{
	_cleanup_close_ int fd = open(s->cfg->config, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	f.error = fd < 0 ? -errno : 0;
	(void)control_send(s, ROLE_CONTROLLER, MSG_SUP_CONFIG, &f, sizeof(f), fd);
}

static void
reload_ask(struct supervisor *s, const struct signalfd_siginfo *si)
{
	uint64_t now = now_ms();

	s->hup = (struct sup_reload){ .uid = si->ssi_uid, .pid = (int32_t)si->ssi_pid };
	if (s->reload_at == NEVER)
		s->reload_at = MAX(now, s->reloaded + RELOAD_MS);
}

static bool
running(const struct supervisor *s, enum role r)
{
	return r == ROLE_KEEPER || (s->children[r].pid > 0 && s->children[r].control >= 0);
}

static void
link_make(struct supervisor *s, struct link *l)
{
	struct sup_channel to_a = { .role = l->b }, to_b = { .role = l->a };
	int fds[2], r;

	l->make_at = NEVER;
	if (s->stopping || !running(s, l->a) || !running(s, l->b))
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
		log_error("no channel between %s and %s, retry in 1 s: %s", role_name(l->a),
		    role_name(l->b), strerror(errno));
		l->make_at = now_ms() + 1000;
		return;
	}
	l->serial = ++s->serial;
	to_a.serial = to_b.serial = l->serial;
	if (l->b == ROLE_KEEPER)
		r = sup_keeper_hand(s->cfg, fds[1]);
	else
		r = control_send(s, l->b, MSG_SUP_CHANNEL, &to_b, sizeof(to_b), fds[1]);
	if (r == 0)
		r = control_send(s, l->a, MSG_SUP_CHANNEL, &to_a, sizeof(to_a), fds[0]);
	close(fds[0]);
	close(fds[1]);
	if (r == 0)
		l->retry_ms = 0;
	if (r < 0 && l->b == ROLE_KEEPER && r != -EPROTONOSUPPORT) {
		l->retry_ms =
		    l->retry_ms == 0 ? KEEPER_MIN_MS : MIN(l->retry_ms * 2, KEEPER_MAX_MS);
		l->make_at = now_ms() + l->retry_ms;
		log_warn("the warden runs without a keeper, retry in %u s: %s", l->retry_ms / 1000,
		    strerror(-r));
	}
}

static void
child_start(struct supervisor *s, enum role r)
{
	struct child *c = &s->children[r];
	int fds[2];
	size_t i;

	c->start_at = NEVER;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
		log_error("cannot start %s, retry in 1 s: %s", role_name(r), strerror(errno));
		c->start_at = now_ms() + 1000;
		return;
	}
	c->pid = fork();
	if (c->pid == 0)
		child_exec(s, r, fds[1]);
	close(fds[1]);
	if (c->pid < 0) {
		log_error("cannot start %s, retry in 1 s: %s", role_name(r), strerror(errno));
		close(fds[0]);
		c->pid = 0;
		c->start_at = now_ms() + 1000;
		return;
	}
	c->control = fds[0];
	c->ready = false;
	c->started = now_ms();
	c->kill_at = NEVER;
	log_debug("%s started, pid %d", role_name(r), (int)c->pid);
	if (r == ROLE_CONTROLLER)
		(void)control_send(s, r, MSG_SUP_LISTEN, NULL, 0, s->cfg->listen_fd);
	for (i = 0; i < ARRAY_SIZE(s->links); i++) {
		if (s->links[i].a == r || s->links[i].b == r)
			link_make(s, &s->links[i]);
	}
}

static void
child_died(struct supervisor *s, enum role r, int status)
{
	struct child *c = &s->children[r];
	uint64_t now = now_ms();
	char how[96];

	close_fd(&c->control);
	c->pid = 0;
	c->kill_at = NEVER;
	if (WIFSIGNALED(status))
		snprintf(how, sizeof(how), "killed by signal %d (%s)", WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
	else
		snprintf(how, sizeof(how), "ended with status %d", WEXITSTATUS(status));
	if (s->stopping) {
		log_debug("%s %s", role_name(r), how);
		return;
	}
	if (now - c->started >= LIFE_RESET_MS || c->backoff_ms == 0)
		c->backoff_ms = BACKOFF_MIN_MS;
	else
		c->backoff_ms = MIN(c->backoff_ms * 2, BACKOFF_MAX_MS);
	c->start_at = now + c->backoff_ms;
	log_warn("%s %s; starting it again in %u ms", role_name(r), how, c->backoff_ms);
}

static void
reap(struct supervisor *s)
{
	int status;
	pid_t pid;
	size_t i;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (i = 0; i < ARRAY_SIZE(started); i++) {
			if (s->children[started[i]].pid == pid)
				child_died(s, started[i], status);
		}
	}
}

static void
channel_lost(struct supervisor *s, enum role from, const struct sup_channel *lost)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(s->links); i++) {
		struct link *l = &s->links[i];

		if ((l->a != from || l->b != lost->role) && (l->b != from || l->a != lost->role))
			continue;
		if (l->serial == lost->serial && l->make_at == NEVER)
			l->make_at = now_ms() + REMAKE_MS;
	}
}

static void
tell_manager(const struct supervisor *s, const char *text)
{
	int r = s->cfg->notify_fd >= 0 ? notify_send(s->cfg->notify_fd, text) : 0;

	if (r < 0)
		log_warn("cannot tell the service manager: %s", strerror(-r));
}

/* Whoever waits for our start may start containers then. */
static void
all_ready(struct supervisor *s)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(started); i++) {
		if (!s->children[started[i]].ready && started[i] != ROLE_HERALD)
			return;
	}
	if (s->said_ready || !s->watching)
		return;
	s->said_ready = true;
	log_info("all roles run, instance %s", s->cfg->instance);
	tell_manager(s, "READY=1\nSTATUS=Watching; the start gate is answered.");
	if (s->cfg->ready_fd >= 0 && write(s->cfg->ready_fd, "1", 1) < 0)
		log_debug("nobody waits for the start");
}

/* The one role that not everybody needs: it is started when the controller says so. */
static void
herald_want(struct supervisor *s)
{
	struct child *c = &s->children[ROLE_HERALD];

	if (s->herald_wanted || s->stopping)
		return;
	s->herald_wanted = true;
	c->start_at = 0;
}

static void
control_receive(struct supervisor *s, enum role r)
{
	struct child *c = &s->children[r];
	int i, e = 1;

	for (i = 0; i < MAX_MSGS && e > 0; i++) {
		struct msg m;

		e = msg_recv(c->control, &m);
		if (e <= 0)
			break;
		if (!msg_may_pass(m.h.type, r, ROLE_SUPERVISOR))
			e = -EBADMSG;
		else if (m.h.type == MSG_SUP_LOST)
			channel_lost(s, r, (const struct sup_channel *)m.body);
		else if (m.h.type == MSG_SUP_READY)
			c->ready = true;
		else if (m.h.type == MSG_SUP_WATCHING)
			s->watching = true;
		else if (m.h.type == MSG_SUP_RELOAD)
			config_hand(s, *(const struct sup_reload *)m.body);
		else if (m.h.type == MSG_SUP_HERALD)
			herald_want(s);
		msg_done(&m);
	}
	if (e < 0) {
		if (e != -ECONNRESET)
			log_error(
			    "message from %s refused: %s; killing it", role_name(r), strerror(-e));
		close_fd(&c->control);
		/* One that ends by itself is given the time to do so. */
		c->kill_at = e == -ECONNRESET ? now_ms() + GONE_MS : 0;
	}
	all_ready(s);
}

static void
stop_begin(struct supervisor *s)
{
	size_t i;

	if (s->stopping)
		return;
	s->stopping = true;
	s->stop_at = now_ms() + STOP_MS;
	log_info("stopping; the keeper stays and with it the rules");
	tell_manager(s, "STOPPING=1\nSTATUS=Ending; the rules stay.");
	for (i = 0; i < ARRAY_SIZE(started); i++) {
		struct child *c = &s->children[started[i]];

		if (c->pid == 0)
			continue;
		(void)control_send(s, started[i], MSG_SUP_STOP, NULL, 0, -1);
		/* Also for one that is not yet so far as to read. */
		kill(c->pid, SIGTERM);
	}
}

/* Does what is due; the milliseconds until the next thing is, -1 if nothing is. */
static int
run_timers(struct supervisor *s)
{
	uint64_t now = now_ms(), next = NEVER;
	bool kill_all = s->stopping && s->stop_at <= now;
	size_t i;

	if (kill_all)
		s->stop_at = NEVER;
	for (i = 0; i < ARRAY_SIZE(started); i++) {
		struct child *c = &s->children[started[i]];

		if (c->pid == 0 && !s->stopping && c->start_at <= now)
			child_start(s, started[i]);
		if (c->pid > 0 && (c->kill_at <= now || kill_all)) {
			kill(c->pid, SIGKILL);
			c->kill_at = NEVER;
		}
		if (c->pid == 0 && !s->stopping)
			next = MIN(next, c->start_at);
		if (c->pid > 0)
			next = MIN(next, c->kill_at);
	}
	for (i = 0; i < ARRAY_SIZE(s->links); i++) {
		if (s->links[i].make_at <= now)
			link_make(s, &s->links[i]);
		next = MIN(next, s->links[i].make_at);
	}
	if (s->reload_at <= now) {
		s->reload_at = NEVER;
		s->reloaded = now;
		config_hand(s, s->hup);
	}
	next = MIN(next, s->reload_at);
	if (s->stopping)
		next = MIN(next, s->stop_at);
	if (next == NEVER)
		return -1;
	now = now_ms();
	return next <= now ? 0 : (int)MIN(next - now, 60000);
}

static bool
all_ended(const struct supervisor *s)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(started); i++) {
		if (s->children[started[i]].pid > 0)
			return false;
	}
	return true;
}

static void
loop(struct supervisor *s, int sigfd)
{
	while (!s->stopping || !all_ended(s)) {
		struct pollfd p[1 + ARRAY_SIZE(started)];
		struct signalfd_siginfo si;
		int timeout = run_timers(s);
		size_t i;

		p[0] = (struct pollfd){ sigfd, POLLIN, 0 };
		for (i = 0; i < ARRAY_SIZE(started); i++)
			p[1 + i] = (struct pollfd){ s->children[started[i]].control, POLLIN, 0 };
		if (poll(p, ARRAY_SIZE(p), timeout) < 0)
			continue;
		for (i = 0; i < ARRAY_SIZE(started); i++) {
			if (p[1 + i].revents != 0)
				control_receive(s, started[i]);
		}
		while (read(sigfd, &si, sizeof(si)) == sizeof(si)) {
			if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
				stop_begin(s);
			else if (si.ssi_signo == SIGHUP)
				reload_ask(s, &si);
		}
		reap(s);
	}
}

int
supervisor_run(const struct sup_config *cfg)
{
	static const struct link links[] = {
		{ ROLE_CONTROLLER, ROLE_WARDEN, 0, NEVER, 0 },
		{ ROLE_CONTROLLER, ROLE_CAPTURE, 0, NEVER, 0 },
		{ ROLE_CONTROLLER, ROLE_DISCOVERY, 0, NEVER, 0 },
		{ ROLE_CONTROLLER, ROLE_HERALD, 0, NEVER, 0 },
		{ ROLE_DISCOVERY, ROLE_RELAY, 0, NEVER, 0 },
		{ ROLE_WARDEN, ROLE_CAPTURE, 0, NEVER, 0 },
		{ ROLE_WARDEN, ROLE_KEEPER, 0, NEVER, 0 },
	};
	struct supervisor s = { .cfg = cfg, .reload_at = NEVER };
	_cleanup_close_ int sigfd = -1;
	sigset_t set;
	size_t i;
	int r;

	_Static_assert(sizeof(links) == sizeof(s.links), "every channel has a place");
	memcpy(s.links, links, sizeof(links));
	for (i = 0; i < ROLE_COUNT_; i++)
		s.children[i] = (struct child){ .control = -1, .kill_at = NEVER };
	s.children[ROLE_HERALD].start_at = NEVER;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGPIPE);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sigfd < 0) {
		log_error("cannot start: %s", strerror(errno));
		return 1;
	}
	r = sup_drop();
	if (r < 0) {
		log_error("cannot give up privileges: %s", strerror(-r));
		return 1;
	}
	loop(&s, sigfd);
	log_info("stopped");
	return 0;
}
