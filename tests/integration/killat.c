/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kills a process at one of its system calls.
 *
 *   killat PID N
 *
 * Follows the process and says "ready". Its begins and ends of system calls are counted from there;
 * at the N-th it is killed, and the call's number is printed. At the end of the input, or with N
 * being 0, it is let go, and the number of stops so far is printed.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void
die(const char *what)
{
	perror(what);
	exit(2);
}

static void
go_on(pid_t pid, int sig)
{
	if (ptrace(PTRACE_SYSCALL, pid, 0, (long)sig) < 0 && errno != ESRCH)
		die("PTRACE_SYSCALL");
}

static long
call_of(pid_t pid)
{
	struct __ptrace_syscall_info info = { 0 };

	ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info);
	return info.op == PTRACE_SYSCALL_INFO_ENTRY ? (long)info.entry.nr : -1;
}

static int
let_go(pid_t pid, long stops)
{
	int status;

	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	waitpid(pid, &status, 0);
	ptrace(PTRACE_DETACH, pid, 0, 0);
	printf("%ld\n", stops);
	return 0;
}

static void
on_child(int sig)
{
	(void)sig;
}

int
main(int argc, char **argv)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	long stops = 0, at, call = -1;
	int status, r;
	pid_t pid;

	sigset_t none, child;

	if (argc != 3)
		return 2;
	/* Comes while waiting alone. */
	sigemptyset(&none);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signal(SIGCHLD, on_child);
	pid = (pid_t)atoi(argv[1]);
	at = atol(argv[2]);
	if (ptrace(PTRACE_SEIZE, pid, 0, (long)PTRACE_O_TRACESYSGOOD) < 0 ||
	    ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0 || waitpid(pid, &status, 0) != pid)
		die("PTRACE_SEIZE");
	go_on(pid, 0);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		r = waitpid(pid, &status, WNOHANG);
		if (r == 0) {
			if (ppoll(&input, 1, NULL, &none) > 0)
				return let_go(pid, stops);
			continue;
		}
		if (r < 0 || !WIFSTOPPED(status))
			return 3;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			go_on(pid, status >> 16 == 0 ? WSTOPSIG(status) : 0);
			continue;
		}
		stops++;
		if (call_of(pid) >= 0)
			call = call_of(pid);
		if (stops == at) {
			kill(pid, SIGKILL);
			printf("%ld\n", call);
			return 0;
		}
		go_on(pid, 0);
	}
}
