/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/remote.h"

#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 20
#define TERM_TRIES 50

static struct {
	pid_t pid;
	char dir[64], socket[80];
} tunnel;

static void
close_tunnel(void)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };

	/* ssh misses a signal that comes just before it waits: it is told again, and then killed.
	 */
	for (unsigned tries = 0; tunnel.pid > 0 && waitpid(tunnel.pid, NULL, WNOHANG) == 0;
	     tries++) {
		kill(tunnel.pid, tries < TERM_TRIES ? SIGTERM : SIGKILL);
		nanosleep(&pause, NULL);
	}
	unlink(tunnel.socket);
	rmdir(tunnel.dir);
}

static void
run_ssh(const struct remote *r, pid_t parent)
{
	const char *args[REMOTE_ARGS_MAX];
	char forward[sizeof(tunnel.socket) + sizeof(r->path) + 2];

	/* Whatever ends us ends it. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(127);
	/* What it prints is no answer. It asks for a password on the terminal itself. */
	dup2(STDERR_FILENO, STDOUT_FILENO);
	snprintf(forward, sizeof(forward), "%s:%s", tunnel.socket, r->path);
	remote_args(r, forward, args);
	execvp(args[0], (char *const *)args);
	fprintf(stderr, "nanoseg: ssh: %s\n", strerror(errno));
	_exit(127);
}

/* A password may be typed meanwhile: the time is the caller's. */
static int
wait_socket(const struct remote *r, unsigned timeout_s)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
	uint64_t tries = timeout_s * 1000ull / POLL_MS;
	struct stat st;
	int status;

	for (uint64_t i = 0; i < tries; i++) {
		if (waitpid(tunnel.pid, &status, WNOHANG) == tunnel.pid) {
			tunnel.pid = 0;
			cli_error("%s is not reachable: ssh has ended", r->host);
			return CLI_UNREACHABLE;
		}
		if (stat(tunnel.socket, &st) == 0 && S_ISSOCK(st.st_mode))
			return CLI_OK;
		nanosleep(&pause, NULL);
	}
	cli_error("%s is not reachable: ssh took longer than %u s", r->host, timeout_s);
	return CLI_UNREACHABLE;
}

int
remote_open(const struct remote *r, unsigned timeout_s, const char **ret_socket)
{
	pid_t parent = getpid();
	int code;

	if (tunnel.pid != 0) {
		*ret_socket = tunnel.socket;
		return CLI_OK;
	}
	snprintf(tunnel.dir, sizeof(tunnel.dir), "/tmp/nanoseg-XXXXXX");
	if (mkdtemp(tunnel.dir) == NULL) {
		cli_error("%s: %s", tunnel.dir, strerror(errno));
		return CLI_ERROR;
	}
	snprintf(tunnel.socket, sizeof(tunnel.socket), "%s/s", tunnel.dir);
	atexit(close_tunnel);
	fflush(NULL);
	tunnel.pid = fork();
	if (tunnel.pid == 0)
		run_ssh(r, parent);
	if (tunnel.pid < 0) {
		tunnel.pid = 0;
		cli_error("ssh cannot be started: %s", strerror(errno));
		return CLI_ERROR;
	}
	code = wait_socket(r, timeout_s);
	if (code == CLI_OK)
		*ret_socket = tunnel.socket;
	return code;
}
