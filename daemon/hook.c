/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg-oci-hook: the start gate's program, a createRuntime (or prestart) hook of the OCI runtime
 * specification. It reads the container's state, asks nanosegd, and its exit code is the answer:
 * 0 starts the container, 1 refuses it with a sentence on standard error.
 *
 * Without an answer to go by, the marker decides: the controller keeps that file for as long as any
 * workload is enforced. It is there, or nobody can tell: refused. It is not: nothing is enforced,
 * the container starts, and an absent daemon is not waited for.
 *
 * Linked statically and against libc alone: it runs before every container, from a copy that
 * outlives the package it came with.
 */
#include "config.h"
#include "rules/oci.h"
#include "rules/util.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#define DEFAULT_SOCKET RUNSTATEDIR "/nanoseg/nanosegd.sock"
#define DEFAULT_MARKER LOCALSTATEDIR "/lib/nanoseg/enforced"
#define DEFAULT_TIMEOUT_MS 10000
#define MAX_TIMEOUT_MS 600000
/* Nothing is enforced, as far as the marker says: the daemon may say otherwise, but soon. */
#define UNENFORCED_TIMEOUT_MS 300
#define MAX_ANSWER 65536
#define CONNECT_STEP_MS 10
#define RETURN_STEP_MS 50

static struct {
	const char *socket, *marker;
	unsigned timeout_ms;
	bool fail_open;
} opt = { DEFAULT_SOCKET, DEFAULT_MARKER, DEFAULT_TIMEOUT_MS, false };

static uint64_t deadline_ms;

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int
left_ms(void)
{
	uint64_t now = now_ms();

	return now >= deadline_ms ? 0 : (int)(deadline_ms - now);
}

/* A sentence for whoever reads the runtime's error; bytes that are not printable become '?'. */
static void _printf_(1, 2) say(const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	n = MIN(n, (int)sizeof(text) - 2);
	for (int i = 0; i < n; i++)
		if (text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
	text[n++] = '\n';
	for (int done = 0; done < n;) {
		ssize_t w = write(STDERR_FILENO, text + done, (size_t)(n - done));

		if (w <= 0)
			return;
		done += (int)w;
	}
}

/* Only a marker that is certainly not there says that nothing is enforced. */
static bool
is_enforced(void)
{
	struct stat st;

	return lstat(opt.marker, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

static int
undecided(const char *why)
{
	if (opt.fail_open) {
		say("nanoseg: %s; started all the same (--fail-open)", why);
		return 0;
	}
	if (!is_enforced())
		return 0;
	say("nanoseg: start refused: %s, and workloads are enforced on this host", why);
	return 1;
}

static int
wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int r;

	do {
		int ms = left_ms();

		if (ms == 0)
			return -ETIMEDOUT;
		r = poll(&p, 1, ms);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r == 0 ? -ETIMEDOUT : 0;
}

/* Up to the end of the stream or max bytes, within the deadline. */
static int
read_all(int fd, char *buf, size_t max, size_t *ret_len)
{
	size_t len = 0;

	while (len < max) {
		ssize_t n;
		int r = wait_for(fd, POLLIN);

		if (r < 0)
			return r;
		n = read(fd, buf + len, max - len);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_len = len;
	return 0;
}

static int
connect_daemon(int *ret)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;

	if (strlen(opt.socket) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, opt.socket, strlen(opt.socket) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	while (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		const struct timespec step = { 0, CONNECT_STEP_MS * 1000000L };

		/* EAGAIN: its queue is full; a unix socket has no other way to wait. */
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (left_ms() == 0)
			return -ETIMEDOUT;
		nanosleep(&step, NULL);
	}
	*ret = steal_fd(&fd);
	return 0;
}

static int
send_request(int fd, const struct oci_state *st)
{
	_cleanup_free_ char *bundle = oci_quote(st->bundle), *text = NULL;
	char body_head[OCI_ID_MAX + 128];
	size_t len, done = 0;
	int n;

	if (bundle == NULL)
		return -ENOMEM;
	snprintf(body_head, sizeof(body_head),
	    "{\"id\":\"%s\",\"pid\":%d,\"timeoutMs\":%d,\"bundle\":", st->id, st->pid,
	    MAX(left_ms(), 1));
	n = asprintf(&text,
	    "POST /v1/gate HTTP/1.1\r\nHost: n\r\nContent-Type: application/json\r\n"
	    "Content-Length: %zu\r\nConnection: close\r\n\r\n%s%s}",
	    strlen(body_head) + strlen(bundle) + 1, body_head, bundle);
	if (n < 0) {
		text = NULL;
		return -ENOMEM;
	}
	len = (size_t)n;
	while (done < len) {
		ssize_t w;
		int r = wait_for(fd, POLLOUT);

		if (r < 0)
			return r;
		w = send(fd, text + done, len - done, MSG_NOSIGNAL);
		if (w < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (w < 0)
			return -errno;
		done += (size_t)w;
	}
	return 0;
}

/* The status of an HTTP answer, and its body; 0 if this is none. The text ends in a NUL. */
static int
answer_status(const char *text, const char **ret_body)
{
	const char *body = strstr(text, "\r\n\r\n");

	if (strncmp(text, "HTTP/1.1 ", 9) != 0 || body == NULL)
		return 0;
	for (int i = 9; i < 12; i++)
		if (text[i] < '0' || text[i] > '9')
			return 0;
	if (text[12] != ' ' && text[12] != '\r')
		return 0;
	*ret_body = body + 4;
	return (text[9] - '0') * 100 + (text[10] - '0') * 10 + text[11] - '0';
}

/* The sentence of {"error": {"message": "..."}}. */
static void
read_sentence(const char *body, char *ret, size_t size)
{
	struct oci_value error, message;

	if (oci_member(body, strlen(body), "error", &error) < 0 ||
	    oci_member(error.text, error.len, "message", &message) < 0 ||
	    oci_string(&message, ret, size) < 0)
		snprintf(ret, size, "the daemon refuses it");
}

/* 0 or 1: the answer. -EAGAIN: the daemon is away, or ending. -EIO: no answer to go by. */
static int
ask_once(const struct oci_state *st, char *why, size_t size)
{
	static char answer[MAX_ANSWER + 1];
	_cleanup_close_ int fd = -1;
	const char *body = NULL;
	char sentence[512];
	struct oci_value allow;
	size_t len = 0;
	int r;

	r = connect_daemon(&fd);
	if (r < 0) {
		snprintf(
		    why, size, "nanosegd does not answer at %s (%s)", opt.socket, strerror(-r));
		return r == -ENOENT || r == -ECONNREFUSED ? -EAGAIN : -EIO;
	}
	r = send_request(fd, st);
	if (r == 0)
		r = read_all(fd, answer, MAX_ANSWER, &len);
	if (r < 0) {
		snprintf(why, size, "nanosegd gave no answer: %s", strerror(-r));
		return r == -ECONNRESET || r == -EPIPE ? -EAGAIN : -EIO;
	}
	if (len == 0) {
		snprintf(why, size, "nanosegd ended while it was asked");
		return -EAGAIN;
	}
	answer[len] = '\0';
	switch (answer_status(answer, &body)) {
	case 200:
		/* A success that does not say so is somebody else's. */
		if (oci_member(body, strlen(body), "start", &allow) == 0 && allow.len == 4 &&
		    memcmp(allow.text, "true", 4) == 0)
			return 0;
		break;
	case 409:
		read_sentence(body, sentence, sizeof(sentence));
		say("nanoseg: start refused: %s", sentence);
		return 1;
	case 503:
		snprintf(why, size, "nanosegd is ending");
		return -EAGAIN;
	}
	snprintf(why, size, "what answers at %s is not nanosegd's gate", opt.socket);
	return -EIO;
}

/*
 * Where something is enforced, a daemon that is away is given its time to come: it may be about to
 * start, or be started again, and an engine that starts its containers with the machine tries each
 * one once.
 */
static int
ask(const struct oci_state *st, char *why, size_t size)
{
	const struct timespec step = { 0, RETURN_STEP_MS * 1000000L };
	int r;

	while ((r = ask_once(st, why, size)) == -EAGAIN && !opt.fail_open && is_enforced() &&
	       left_ms() > RETURN_STEP_MS)
		nanosleep(&step, NULL);
	return r;
}

/* "2", "2s", "500ms". */
static bool
read_timeout(const char *text, unsigned *ret)
{
	unsigned long n;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno != 0 || n > MAX_TIMEOUT_MS)
		return false;
	if (strcmp(end, "") == 0 || strcmp(end, "s") == 0)
		n *= 1000;
	else if (strcmp(end, "ms") != 0)
		return false;
	if (n == 0 || n > MAX_TIMEOUT_MS)
		return false;
	*ret = (unsigned)n;
	return true;
}

static const char usage[] =
    "usage: nanoseg-oci-hook [OPTION]... <STATE\n"
    "An OCI createRuntime hook: exits 0 if nanosegd lets the container start, 1 if not.\n"
    "  --socket PATH   the daemon's socket (" DEFAULT_SOCKET ")\n"
    "  --marker PATH   there while workloads are enforced (" DEFAULT_MARKER ")\n"
    "  --timeout TIME  how long to wait for the daemon: 2s, 500ms (10s)\n"
    "  --fail-open     start the container when the daemon does not answer\n"
    "  --help, --version\n";

static void
read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "marker", required_argument, NULL, 'm' },
		{ "timeout", required_argument, NULL, 't' },
		{ "fail-open", no_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 's')
			opt.socket = optarg;
		else if (o == 'm')
			opt.marker = optarg;
		else if (o == 'o')
			opt.fail_open = true;
		else if (o == 'h' || o == 'v') {
			puts(o == 'h' ? usage : PACKAGE_NAME " " PACKAGE_VERSION);
			exit(0);
		} else if (o != 't' || !read_timeout(optarg, &opt.timeout_ms)) {
			say("nanoseg-oci-hook: an option is wrong; see --help");
			exit(2);
		}
	}
}

int
main(int argc, char **argv)
{
	static char text[OCI_MAX_TEXT + 1];
	struct oci_state st;
	const char *bad;
	char why[512];
	size_t len;
	int r;

	signal(SIGPIPE, SIG_IGN);
	read_options(argc, argv);
	if (!is_enforced())
		opt.timeout_ms = MIN(opt.timeout_ms, UNENFORCED_TIMEOUT_MS);
	deadline_ms = now_ms() + opt.timeout_ms;
	r = read_all(STDIN_FILENO, text, sizeof(text), &len);
	if (r < 0)
		return undecided("the runtime did not tell the container's state");
	if (oci_state_read(text, len, &st, &bad) < 0)
		return undecided(bad);
	r = ask(&st, why, sizeof(why));
	return r < 0 ? undecided(why) : r;
}
