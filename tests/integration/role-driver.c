/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs the relay and the discovery role without a supervisor, and plays the roles at their other
 * ends. Prints what it receives as JSON lines and takes commands on stdin:
 *
 *   role-driver discovery RELAY DISCOVERY --engine ...
 *     lookup ID | controller (a new channel, as after a restart of the controller) |
 *     relay (kills the relay and starts another)
 *   role-driver relay RELAY --engine ...
 *     get ENGINE REQUEST ID | hold ENGINE REQUEST ID (never reads) | drop (closes what is held)
 *
 * Ends when stdin does.
 */
#include "daemon/msg.h"
#include "daemon/priv.h"
#include "daemon/proto.h"
#include "rules/util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define HELD_MAX 128

struct child {
	pid_t pid;
	int control;
};

static char **engine_args;
static int n_engine_args;
static struct child relay, discovery;
static int channel = -1; /* the end that we play */
static int held[HELD_MAX];
static size_t n_held;
static uint32_t serial;

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
pair(int sv[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0)
		die("socketpair");
}

static struct child
child_start(const char *path, const char *uid)
{
	const char *argv[64] = { path, "--instance", "00000001", "--uid", uid, "--gid",
		strcmp(uid, "0") == 0 ? "0" : "65534", "--log", "debug" };
	struct child c;
	int sv[2], n = 9;

	for (int i = 0; i < n_engine_args && n < 63; i++)
		argv[n++] = engine_args[i];
	pair(sv);
	c.pid = fork();
	if (c.pid < 0)
		die("fork");
	if (c.pid == 0) {
		/* dup2() onto itself would leave the close-on-exec flag. */
		if (sv[1] == ROLE_CONTROL_FD ? fcntl(sv[1], F_SETFD, 0) < 0
					     : dup2(sv[1], ROLE_CONTROL_FD) < 0)
			_exit(126);
		execv(path, (char *const *)argv);
		_exit(127);
	}
	close(sv[1]);
	c.control = sv[0];
	return c;
}

static void
hand(int control, enum role peer, int fd)
{
	struct sup_channel sc = { .role = peer, .serial = ++serial };

	if (msg_send(control, MSG_SUP_CHANNEL, 0, &sc, sizeof(sc), &fd, 1) < 0)
		die("hand");
	close(fd);
}

static void
join(int a_control, enum role b, int b_control, enum role a)
{
	int sv[2];

	pair(sv);
	hand(a_control, b, sv[0]);
	hand(b_control, a, sv[1]);
}

static void
play(int control, enum role self)
{
	int sv[2];

	pair(sv);
	hand(control, self, sv[0]);
	close_fd(&channel);
	channel = sv[1];
}

/* Reads an answer to its end and prints its length, its first line and a checksum. */
static void
print_stream(uint32_t seq, int fd)
{
	static char buf[65536];
	char first[100] = "";
	uint64_t total = 0, sum = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n = 1;

	while (n != 0 && poll(&p, 1, 20000) > 0) {
		n = read(fd, buf, sizeof(buf));
		if (n < 0)
			break;
		if (total == 0)
			snprintf(first, sizeof(first), "%.*s", (int)MIN(n, (ssize_t)12), buf);
		for (ssize_t i = 0; i < n; i++)
			sum = sum * 31 + (uint8_t)buf[i];
		total += (uint64_t)n;
	}
	printf("{\"msg\":\"R_STREAM\",\"seq\":%u,\"error\":0,\"first\":\"%s\",\"bytes\":%llu,"
	       "\"sum\":%llu,\"ended\":%s}\n",
	    seq, first, (unsigned long long)total, (unsigned long long)(sum & 0xffffffff),
	    n == 0 ? "true" : "false");
	close(fd);
}

static void
print_msg(struct msg *m)
{
	struct d_engine e;
	struct r_stream s;

	switch (m->h.type) {
	case MSG_D_CONTAINER:
		printf("{\"msg\":\"D_CONTAINER\",\"facts\":%.*s}\n", (int)m->h.body_len, m->body);
		break;
	case MSG_D_STOPPED:
		printf("{\"msg\":\"D_STOPPED\",\"facts\":%.*s}\n", (int)m->h.body_len, m->body);
		break;
	case MSG_D_GONE:
	case MSG_D_STOPPED_GONE:
		printf("{\"msg\":\"%s\",\"id\":\"%.64s\"}\n", msg_shape_of(m->h.type)->name,
		    (const char *)m->body);
		break;
	case MSG_D_ENGINE:
	case MSG_D_SYNCED:
		memcpy(&e, m->body, sizeof(e));
		printf("{\"msg\":\"%s\",\"engine\":\"%s\",\"reachable\":%u,\"errors\":%u,"
		       "\"why\":\"%s\"}\n",
		    msg_shape_of(m->h.type)->name, e.engine, e.reachable, e.errors, e.why);
		break;
	case MSG_R_STREAM:
		memcpy(&s, m->body, sizeof(s));
		if (m->n_fds == 0)
			printf(
			    "{\"msg\":\"R_STREAM\",\"seq\":%u,\"error\":%d}\n", m->h.seq, s.error);
		else if (m->h.seq & 1u << 31 && n_held < HELD_MAX) {
			held[n_held++] = steal_fd(&m->fds[0]);
			printf("{\"msg\":\"R_STREAM\",\"error\":0,\"held\":%zu}\n", n_held);
		} else
			print_stream(m->h.seq, steal_fd(&m->fds[0]));
		break;
	default:
		printf("{\"msg\":\"%u\"}\n", m->h.type);
		break;
	}
	fflush(stdout);
}

static void
command(char *line, char *relay_path)
{
	static uint32_t seq;
	struct d_id ask = { .id = "" };
	struct r_get get = { .engine = 0 };
	char id[200] = "";

	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "lookup %64s", ask.id) == 1) {
		msg_send(channel, MSG_D_LOOKUP, 0, &ask, sizeof(ask), NULL, 0);
	} else if (strcmp(line, "controller") == 0) {
		play(discovery.control, ROLE_CONTROLLER);
	} else if (strcmp(line, "relay") == 0) {
		kill(relay.pid, SIGKILL);
		waitpid(relay.pid, NULL, 0);
		close(relay.control);
		relay = child_start(relay_path, "0");
		join(relay.control, ROLE_DISCOVERY, discovery.control, ROLE_RELAY);
	} else if (sscanf(line, "get %u %u %199s", &get.engine, &get.request, id) >= 2 ||
		   sscanf(line, "hold %u %u %199s", &get.engine, &get.request, id) >= 2) {
		/* Over-long ids reach the relay without a terminator. */
		memcpy(get.id, id, MIN(strlen(id), sizeof(get.id)));
		msg_send(channel, MSG_R_GET, ++seq | (line[0] == 'h' ? 1u << 31 : 0), &get,
		    sizeof(get), NULL, 0);
	} else if (strcmp(line, "drop") == 0) {
		while (n_held > 0)
			close(held[--n_held]);
	}
}

static void
control_drain(int fd)
{
	struct msg m;

	while (msg_recv(fd, &m) == 1) {
		if (m.h.type == MSG_SUP_READY)
			printf("{\"msg\":\"READY\"}\n");
		fflush(stdout);
		msg_done(&m);
	}
}

static void
run(char *relay_path)
{
	char line[512];
	struct msg m;
	int r;

	for (;;) {
		struct pollfd p[] = {
			{ .fd = channel, .events = POLLIN },
			{ .fd = STDIN_FILENO, .events = POLLIN },
		};

		if (poll(p, 2, 100) < 0)
			return;
		control_drain(relay.control);
		if (discovery.pid != 0)
			control_drain(discovery.control);
		if (p[0].revents != 0) {
			r = msg_recv(channel, &m);
			if (r < 0) {
				printf("{\"msg\":\"CLOSED\"}\n");
				fflush(stdout);
				close_fd(&channel);
			}
			if (r == 1) {
				print_msg(&m);
				msg_done(&m);
			}
		}
		if (p[1].revents != 0) {
			if (fgets(line, sizeof(line), stdin) == NULL)
				return;
			command(line, relay_path);
		}
	}
}

static void
child_end(const struct child *c, const char *name)
{
	int status = 0;

	if (c->pid == 0)
		return;
	msg_send(c->control, MSG_SUP_STOP, 0, NULL, 0, NULL, 0);
	for (int i = 0; i < 100; i++) {
		if (waitpid(c->pid, &status, WNOHANG) == c->pid) {
			printf("{\"msg\":\"EXIT\",\"role\":\"%s\",\"status\":%d}\n", name, status);
			return;
		}
		usleep(20000);
	}
	kill(c->pid, SIGKILL);
	waitpid(c->pid, &status, 0);
	printf("{\"msg\":\"EXIT\",\"role\":\"%s\",\"status\":\"killed\"}\n", name);
}

int
main(int argc, char **argv)
{
	bool whole = argc > 3 && strcmp(argv[1], "discovery") == 0;

	if (argc < 3 || (!whole && strcmp(argv[1], "relay") != 0)) {
		fprintf(
		    stderr, "usage: role-driver discovery RELAY DISCOVERY ... | relay RELAY ...\n");
		return 2;
	}
	/* One line, one read: poll() has to see what stdio would hold back. */
	setvbuf(stdin, NULL, _IONBF, 0);
	engine_args = argv + (whole ? 4 : 3);
	n_engine_args = argc - (whole ? 4 : 3);
	relay = child_start(argv[2], "0");
	if (whole) {
		discovery = child_start(argv[3], "65534");
		play(discovery.control, ROLE_CONTROLLER);
		join(relay.control, ROLE_DISCOVERY, discovery.control, ROLE_RELAY);
	} else {
		play(relay.control, ROLE_DISCOVERY);
	}
	printf("{\"msg\":\"PIDS\",\"relay\":%d,\"discovery\":%d}\n", relay.pid, discovery.pid);
	fflush(stdout);
	run(argv[2]);
	child_end(&discovery, "discovery");
	child_end(&relay, "relay");
	return 0;
}
