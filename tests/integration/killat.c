/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kills a process at one of its system calls.
 *
 *   killat PID N
 *
 * Follows the process and says "ready". From there its system calls are counted, but for those that
 * change nothing outside of it; it is killed at the begin of the N-th, and the call's number is
 * printed. At the end of the input, or with N being 0, it is let go, and the number of calls so far
 * is printed.
 *
 * Killed anywhere between two of the calls that count, it leaves what it leaves at the begin of the
 * second, as it shares no memory with anybody.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void
die(const char *what)
{
	perror(what);
	exit(2);
}

/* Calls that only ask, or change what ends with the process. */
static bool
is_harmless(const struct __ptrace_syscall_info *info)
{
	static const int calls[] = {
#ifdef __NR_epoll_wait
		__NR_epoll_wait,
#endif
#ifdef __NR_readlink
		__NR_readlink,
#endif
		__NR_epoll_pwait,
		__NR_epoll_ctl,
		__NR_readlinkat,
		__NR_read,
		__NR_pread64,
		__NR_lseek,
		__NR_getdents64,
		__NR_newfstatat,
		__NR_fstat,
		__NR_fstatfs,
		__NR_statx,
		__NR_close,
		__NR_getsockopt,
		__NR_setsockopt,
		__NR_mmap,
		__NR_munmap,
		__NR_mprotect,
		__NR_madvise,
		__NR_brk,
		__NR_futex,
		__NR_uname,
		__NR_clock_gettime,
		__NR_clock_adjtime,
		__NR_getrandom,
		__NR_getpid,
		__NR_fcntl,
	};

	if (info->entry.nr == __NR_openat)
		return (info->entry.args[2] & (O_CREAT | O_TRUNC)) == 0;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (info->entry.nr == (uint64_t)calls[i])
			return true;
	return false;
}

static void
go_on(pid_t pid, int sig)
{
	if (ptrace(PTRACE_SYSCALL, pid, 0, (long)sig) < 0 && errno != ESRCH)
		die("PTRACE_SYSCALL");
}

/* The call that begins and counts, or -1. */
static long
call_of(pid_t pid)
{
	struct __ptrace_syscall_info info = { 0 };

	ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info);
	return info.op == PTRACE_SYSCALL_INFO_ENTRY && !is_harmless(&info) ? (long)info.entry.nr
									   : -1;
}

static int
let_go(pid_t pid, long calls)
{
	int status;

	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	waitpid(pid, &status, 0);
	ptrace(PTRACE_DETACH, pid, 0, 0);
	printf("%ld\n", calls);
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
	long calls = 0, at, call;
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
				return let_go(pid, calls);
			continue;
		}
		if (r < 0 || !WIFSTOPPED(status))
			return 3;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			go_on(pid, status >> 16 == 0 ? WSTOPSIG(status) : 0);
			continue;
		}
		call = call_of(pid);
		if (call >= 0 && ++calls == at) {
			kill(pid, SIGKILL);
			printf("%ld\n", call);
			return 0;
		}
		go_on(pid, 0);
	}
}
