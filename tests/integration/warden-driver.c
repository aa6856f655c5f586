/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stands in for the supervisor, the keeper and the controller, so that a test can drive the warden
 * and the capture role alone: commands are lines on stdin, messages are JSON lines on stdout. See
 * the table of commands at the end.
 */
#include "config.h"
#include "tests/integration/warden-driver.h"
#include "daemon/priv.h"
#include "daemon/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define MAX_KEPT 64
#define MAX_WORDS 64

struct child {
	pid_t pid;
	int control, peer; /* peer: our end as the controller */
	bool paused;	   /* the controller does not read */
	char program[256], instance[16], uid[16], gid[16];
};

static struct child warden = { 0, -1, -1, false, "", "", "", "" };
static struct child capture = { 0, -1, -1, false, "", "", "", "" };
static int keeper_sock = -1;
static bool keeper_on = true;
static uint32_t serial;

static struct {
	struct keep_item item;
	int fd;
} kept[MAX_KEPT];
static size_t n_kept;

/* Children and channels */

static void
pair(int ret[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) < 0)
		fail("socketpair");
}

static void
hand_channel(struct child *to, enum role role, int fd)
{
	struct sup_channel body = { .role = role, .serial = ++serial };

	if (msg_send(to->control, MSG_SUP_CHANNEL, 0, &body, sizeof(body), &fd, 1) < 0)
		fail("hand channel");
}

static void
hand_controller(struct child *c)
{
	int p[2];

	close_fd(&c->peer);
	pair(p);
	hand_channel(c, ROLE_CONTROLLER, p[1]);
	close(p[1]);
	c->peer = p[0];
}

static void
hand_keeper(void)
{
	int p[2];

	close_fd(&keeper_sock);
	pair(p);
	hand_channel(&warden, ROLE_KEEPER, p[1]);
	close(p[1]);
	keeper_sock = p[0];
}

static void
join_both(void)
{
	int p[2];

	if (warden.pid == 0 || capture.pid == 0)
		return;
	pair(p);
	hand_channel(&warden, ROLE_CAPTURE, p[0]);
	hand_channel(&capture, ROLE_WARDEN, p[1]);
	close(p[0]);
	close(p[1]);
}

static void
spawn(struct child *c)
{
	int p[2];

	pair(p);
	c->pid = fork();
	if (c->pid < 0)
		fail("fork");
	if (c->pid == 0) {
		char *const argv[] = { c->program, (char *)"--instance", c->instance,
			(char *)"--uid", c->uid, (char *)"--gid", c->gid, NULL };
		int in = open("/dev/null", O_RDONLY | O_CLOEXEC);

		if (in < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
			_exit(127);
		if (p[1] == ROLE_CONTROL_FD)
			fcntl(p[1], F_SETFD, 0);
		else if (dup2(p[1], ROLE_CONTROL_FD) < 0)
			_exit(127);
		execv(c->program, argv);
		_exit(127);
	}
	close(p[1]);
	close_fd(&c->control);
	c->control = p[0];
	c->paused = false;
	if (c == &warden && keeper_on)
		hand_keeper();
	hand_controller(c);
	join_both();
	printf("{\"msg\":\"SPAWNED\",\"pid\":%d}\n", (int)c->pid);
}

static void
reap(struct child *c, int sig)
{
	int status = 0;

	if (c->pid == 0)
		return;
	if (sig != 0)
		kill(c->pid, sig);
	waitpid(c->pid, &status, 0);
	printf("{\"msg\":\"ENDED\",\"pid\":%d,\"status\":%d}\n", (int)c->pid, status);
	c->pid = 0;
	close_fd(&c->control);
	close_fd(&c->peer);
	if (c == &warden) {
		close_fd(&keeper_sock);
		drop_attached(0);
	}
}

/* Keeper */

static void
keeper_drop(const struct keep_item *item)
{
	for (size_t i = 0; i < n_kept; i++) {
		if (kept[i].item.cookie != item->cookie || kept[i].item.kind != item->kind)
			continue;
		close_fd(&kept[i].fd);
		kept[i--] = kept[--n_kept];
	}
}

static void
keeper_msg(struct msg *m)
{
	struct keep_item item;
	size_t i;

	switch (m->h.type) {
	case MSG_KEEP_HELLO:
		msg_send(keeper_sock, MSG_KEEP_HELLO, 0, m->body, m->h.body_len, NULL, 0);
		return;
	case MSG_KEEP_LIST:
		for (i = 0; i < n_kept; i++)
			msg_send(keeper_sock, MSG_KEEP_ITEM, 0, &kept[i].item, sizeof(kept[i].item),
			    &kept[i].fd, 1);
		msg_send(keeper_sock, MSG_KEEP_END, 0, NULL, 0, NULL, 0);
		return;
	case MSG_KEEP_PUT:
	case MSG_KEEP_DROP:
		memcpy(&item, m->body, sizeof(item));
		keeper_drop(&item);
		if (m->h.type == MSG_KEEP_PUT && n_kept < MAX_KEPT) {
			kept[n_kept].item = item;
			kept[n_kept++].fd = steal_fd(&m->fds[0]);
		}
		printf("{\"msg\":\"%s\",\"cookie\":%" PRIu64 ",\"kind\":%u,\"held\":%zu}\n",
		    m->h.type == MSG_KEEP_PUT ? "KEEP_PUT" : "KEEP_DROP", item.cookie, item.kind,
		    n_kept);
		return;
	default:
		return;
	}
}

/* Commands */

static uint64_t
number(const char *s)
{
	return strtoull(s, NULL, 0);
}

static size_t
unhex(const char *s, uint8_t *buf, size_t size)
{
	size_t n = 0;
	unsigned v;

	while (n < size && s[2 * n] != '\0' && sscanf(s + 2 * n, "%2x", &v) == 1)
		buf[n++] = (uint8_t)v;
	return n;
}

static void
ask(uint16_t type, const void *body, size_t len)
{
	static uint32_t seq = 100;
	int r = msg_send(warden.peer, type, ++seq, body, len, NULL, 0);

	printf("{\"msg\":\"SENT\",\"seq\":%u,\"error\":%d}\n", seq, r);
}

static void
cmd_spawn(int n, char **w)
{
	struct child *c = strcmp(w[1], "warden") == 0 ? &warden : &capture;

	if (n >= 6) {
		snprintf(c->program, sizeof(c->program), "%s", w[2]);
		snprintf(c->instance, sizeof(c->instance), "%s", w[3]);
		snprintf(c->uid, sizeof(c->uid), "%s", w[4]);
		snprintf(c->gid, sizeof(c->gid), "%s", w[5]);
	}
	spawn(c);
}

static void
cmd_kill(int n, char **w)
{
	reap(strcmp(w[1], "warden") == 0 ? &warden : &capture, SIGKILL);
}

static void
cmd_stop(int n, char **w)
{
	struct child *c = strcmp(w[1], "warden") == 0 ? &warden : &capture;

	msg_send(c->control, MSG_SUP_STOP, 0, NULL, 0, NULL, 0);
	reap(c, 0);
}

static void
cmd_controller(int n, char **w)
{
	hand_controller(strcmp(w[1], "warden") == 0 ? &warden : &capture);
}

static void
cmd_keeper(int n, char **w)
{
	keeper_on = strcmp(w[1], "off") != 0;
	if (strcmp(w[1], "again") == 0)
		hand_keeper();
	while (strcmp(w[1], "drop") == 0 && n_kept > 0)
		close_fd(&kept[--n_kept].fd);
}

static void
cmd_events(int n, char **w)
{
	count_only = strcmp(w[1], "count") == 0;
}

static void
cmd_pause(int n, char **w)
{
	capture.paused = strcmp(w[1], "on") == 0;
}

static void
cmd_attach(int n, char **w)
{
	struct w_attach b = { number(w[1]), (uint32_t)number(w[2]), (uint32_t)number(w[3]) };

	ask(MSG_W_ATTACH, &b, sizeof(b));
}

static void
cmd_release(int n, char **w)
{
	struct w_cookie b = { number(w[1]) };

	drop_attached(b.cookie);
	ask(MSG_W_RELEASE, &b, sizeof(b));
}

static void
cmd_posture(int n, char **w)
{
	struct w_posture b = { (uint32_t)number(w[1]), (uint32_t)number(w[2]),
		(uint32_t)number(w[3]), (uint32_t)number(w[4]) };

	ask(MSG_W_POSTURE, &b, sizeof(b));
}

static void
cmd_dump(int n, char **w)
{
	struct w_cookie b = { number(w[1]) };

	ask(MSG_W_CT_DUMP, &b, sizeof(b));
}

static void
cmd_read(int n, char **w)
{
	struct w_cookie b = { number(w[1]) };

	ask(MSG_W_NFT_READ, &b, sizeof(b));
}

static void
cmd_stats(int n, char **w)
{
	ask(MSG_W_GET_CT_STATS, NULL, 0);
}

/* ct get|delete|insert COOKIE PROTO SRC SPORT DST DPORT [TIMEOUT] */
static void
cmd_ct(int n, char **w)
{
	struct w_ct_tuple b = { .cookie = number(w[2]) };
	uint16_t type = MSG_W_CT_GET;

	if (n < 8 || addr_parse(w[4], &b.tuple.src) < 0 || addr_parse(w[6], &b.tuple.dst) < 0)
		fail("ct arguments");
	b.tuple.proto = (uint8_t)number(w[3]);
	b.tuple.sport = (uint16_t)number(w[5]);
	b.tuple.dport = (uint16_t)number(w[7]);
	b.timeout_s = n > 8 ? (uint32_t)number(w[8]) : 0;
	if (strcmp(w[1], "delete") == 0)
		type = MSG_W_CT_DELETE;
	else if (strcmp(w[1], "insert") == 0)
		type = MSG_W_CT_INSERT;
	ask(type, &b, sizeof(b));
}

static void
send_ruleset(uint64_t cookie, const uint8_t *bytes, size_t len)
{
	_cleanup_free_ uint8_t *body = malloc(sizeof(cookie) + len);

	if (body == NULL)
		fail("memory");
	memcpy(body, &cookie, sizeof(cookie));
	if (len > 0)
		memcpy(body + sizeof(cookie), bytes, len);
	ask(MSG_W_NFT_APPLY, body, sizeof(cookie) + len);
}

static enum wl_mode
mode_of(const char *s)
{
	return strcmp(s, "enforce") == 0 ? MODE_ENFORCE
	       : strcmp(s, "audit") == 0 ? MODE_AUDIT
					 : MODE_OBSERVE;
}

/* apply COOKIE IN-MODE OUT-MODE (i|o)(+|-)PROTO,ADDRESS,PORT ... */
static void
cmd_apply(int n, char **w)
{
	struct ruleset_elem elems[MAX_WORDS] = { 0 };
	struct ruleset rs = { .elems = elems, .report_per_second = 50 };
	uint8_t *bytes;
	size_t len;

	rs.in_mode = mode_of(w[2]);
	rs.out_mode = mode_of(w[3]);
	for (int i = 4; i < n; i++) {
		struct ruleset_elem *e = &elems[rs.n_elems++];
		char *addr = strchr(w[i], ','), *port = strrchr(w[i], ',');

		if (addr == NULL || port == addr)
			fail("apply arguments");
		*addr++ = '\0';
		*port++ = '\0';
		e->dir = w[i][0] == 'i' ? DIR_INGRESS : DIR_EGRESS;
		e->allow = w[i][1] == '+';
		e->proto = (uint8_t)number(w[i] + 2);
		e->edge = rs.n_elems;
		e->port_lo = e->port_hi = (uint16_t)number(port);
		if (addr_parse(addr, &e->lo) < 0)
			fail("apply address");
		e->hi = e->lo;
	}
	ruleset_normalise(&rs);
	if (ruleset_encode(&rs, &bytes, &len) < 0)
		fail("ruleset_encode");
	send_ruleset(number(w[1]), bytes, len);
	free(bytes);
}

static void
cmd_applyraw(int n, char **w)
{
	uint8_t bytes[2048];

	send_ruleset(number(w[1]), bytes, n > 2 ? unhex(w[2], bytes, sizeof(bytes)) : 0);
}

/* Past msg_send(), which would refuse what a hostile role does not. */
static void
cmd_raw(int n, char **w)
{
	struct {
		struct msg_header h;
		uint8_t body[2048];
	} m = { .h = { .version = MSG_VERSION, .seq = 1 } };
	size_t len = n > 2 ? unhex(w[2], m.body, sizeof(m.body)) : 0;

	m.h.type = (uint16_t)number(w[1]);
	m.h.body_len = (uint32_t)len;
	if (send(warden.peer, &m, sizeof(m.h) + len, MSG_NOSIGNAL) < 0)
		printf("{\"msg\":\"SENT\",\"seq\":0,\"error\":%d}\n", -errno);
}

static void
cmd_use(int n, char **w)
{
	uint64_t cookie = number(w[1]);
	pid_t pid;

	fflush(stdout);
	for (size_t i = 0; i < n_attached; i++) {
		if (attached[i].cookie != cookie)
			continue;
		pid = fork();
		if (pid == 0)
			use_child(attached[i].fds, (int)number(w[2]));
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
}

static const struct command {
	const char *name;
	int min_words;
	void (*run)(int n, char **w);
} commands[] = {
	{ "spawn", 2, cmd_spawn }, /* spawn warden|capture [PROGRAM INSTANCE UID GID] */
	{ "kill", 2, cmd_kill }, { "stop", 2, cmd_stop },
	{ "controller", 2, cmd_controller }, /* a new channel, as after the controller's death */
	{ "keeper", 2, cmd_keeper },	     /* on|off|again|drop */
	{ "events", 2, cmd_events },	     /* full|count */
	{ "pause", 2, cmd_pause },	     /* on|off: the controller does not read capture */
	{ "attach", 4, cmd_attach },	     /* attach COOKIE HOST RCVBUF */
	{ "release", 2, cmd_release }, { "dump", 2, cmd_dump }, { "read", 2, cmd_read },
	{ "posture", 5, cmd_posture }, /* posture CLOSE NAMED QUARANTINE MS */
	{ "stats", 1, cmd_stats }, { "ct", 3, cmd_ct }, { "apply", 4, cmd_apply },
	{ "applyraw", 2, cmd_applyraw }, /* applyraw COOKIE [HEX] */
	{ "raw", 2, cmd_raw },		 /* raw TYPE [HEX] */
	{ "use", 3, cmd_use },		 /* use COOKIE MS */
};

static void
command(char *line)
{
	char *words[MAX_WORDS], *save = NULL;
	int n = 0;

	for (char *t = strtok_r(line, " \n", &save); t != NULL && n < MAX_WORDS;
	     t = strtok_r(NULL, " \n", &save))
		words[n++] = t;
	for (size_t i = 0; n > 0 && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(words[0], commands[i].name) != 0 || n < commands[i].min_words)
			continue;
		commands[i].run(n, words);
		return;
	}
	printf("{\"msg\":\"UNKNOWN_COMMAND\"}\n");
}

static void
read_messages(int *sock, void (*fn)(struct msg *m), const char *name)
{
	struct msg m;
	int r;

	while ((r = msg_recv(*sock, &m)) == 1) {
		fn(&m);
		msg_done(&m);
	}
	if (r == 0)
		return;
	printf("{\"msg\":\"CLOSED\",\"channel\":\"%s\",\"error\":%d}\n", name, r);
	close_fd(sock);
}

static void
control_msg(struct msg *m)
{
	printf("{\"msg\":\"%s\"}\n", msg_shape_of(m->h.type)->name);
}

/* False at the end of the commands. */
static bool
read_commands(void)
{
	static char buf[65536];
	static size_t have;
	ssize_t n = read(STDIN_FILENO, buf + have, sizeof(buf) - 1 - have);
	char *nl;

	if (n <= 0)
		return false;
	have += (size_t)n;
	buf[have] = '\0';
	while ((nl = strchr(buf, '\n')) != NULL) {
		*nl = '\0';
		command(buf);
		have -= (size_t)(nl + 1 - buf);
		memmove(buf, nl + 1, have + 1);
	}
	return true;
}

int
main(void)
{
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		struct pollfd p[] = { { STDIN_FILENO, POLLIN, 0 }, { warden.control, POLLIN, 0 },
			{ capture.control, POLLIN, 0 }, { keeper_sock, POLLIN, 0 },
			{ warden.peer, POLLIN, 0 },
			{ capture.paused ? -1 : capture.peer, POLLIN, 0 } };

		fflush(stdout);
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			fail("poll");
		if (p[3].revents)
			read_messages(&keeper_sock, keeper_msg, "keeper");
		if (p[4].revents)
			read_messages(&warden.peer, show, "warden");
		if (p[5].revents)
			read_messages(&capture.peer, show, "capture");
		if (p[1].revents)
			read_messages(&warden.control, control_msg, "warden control");
		if (p[2].revents)
			read_messages(&capture.control, control_msg, "capture control");
		if (p[0].revents && !read_commands())
			break;
	}
	reap(&warden, SIGKILL);
	reap(&capture, SIGKILL);
	return 0;
}
