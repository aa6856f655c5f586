/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kills a process at one of its system calls.
 *
 *   killat PID N
 *
 * Follows the process, with every thread that it has and makes, and says "ready". From there the
 * system calls of all of them are counted, but for those that change nothing outside of it; it is
 * killed at the begin of the N-th, and the call's number is printed. At the end of the input, or
 * with N being 0, it is let go, and the number of calls so far is printed.
 *
 * Killed anywhere between two of the calls that count, it leaves what it leaves at the begin of the
 * second, as it shares no memory with anybody. With KILLAT_ALL in the environment every call
 * counts.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
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

#define MAX_THREADS 64
/* A stop that is neither a signal nor a call: it says so above the low 16 bits. */
#define EVENT_OF(status) ((status) >> 16)

static bool count_all;

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
		__NR_clone,
		__NR_clone3,
		__NR_exit,
		__NR_gettid,
		__NR_rseq,
		__NR_set_robust_list,
		__NR_rt_sigprocmask,
		__NR_sched_yield,
		__NR_restart_syscall,
		__NR_uname,
		__NR_clock_gettime,
		__NR_clock_adjtime,
		__NR_getrandom,
		__NR_getpid,
		__NR_fcntl,
	};

	if (count_all)
		return false;
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

/* The signal that a thread stopped for, which is still to be delivered. */
static int
signal_of(int status)
{
	return EVENT_OF(status) == 0 && WSTOPSIG(status) != (SIGTRAP | 0x80) ? WSTOPSIG(status) : 0;
}

/* The threads that it has now. */
static size_t
list_threads(pid_t pid, pid_t ret[static MAX_THREADS])
{
	char path[64];
	struct dirent *e;
	size_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (dir == NULL)
		die(path);
	while ((e = readdir(dir)) != NULL && n < MAX_THREADS)
		if (e->d_name[0] != '.')
			ret[n++] = (pid_t)atoi(e->d_name);
	closedir(dir);
	return n;
}

/* A thread that is followed already, or gone, is not. */
static bool
seize(pid_t thread)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;
	int status;

	if (ptrace(PTRACE_SEIZE, thread, 0, options) < 0)
		return false;
	if (ptrace(PTRACE_INTERRUPT, thread, 0, 0) == 0 &&
	    waitpid(thread, &status, __WALL) == thread && WIFSTOPPED(status))
		go_on(thread, signal_of(status));
	return true;
}

/* What a followed thread makes is followed from its begin: in the end all of them are. */
static void
follow(pid_t pid)
{
	pid_t threads[MAX_THREADS];
	bool fresh = true;

	if (!seize(pid))
		die("PTRACE_SEIZE");
	while (fresh) {
		size_t n = list_threads(pid, threads);

		fresh = false;
		for (size_t i = 0; i < n; i++)
			fresh |= seize(threads[i]);
	}
}

static int
let_go(pid_t pid, long calls)
{
	pid_t threads[MAX_THREADS];
	size_t n = list_threads(pid, threads);
	int status;

	for (size_t i = 0; i < n; i++) {
		if (ptrace(PTRACE_INTERRUPT, threads[i], 0, 0) == 0 &&
		    waitpid(threads[i], &status, __WALL) == threads[i] && WIFSTOPPED(status))
			ptrace(PTRACE_DETACH, threads[i], 0, (long)signal_of(status));
	}
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
	sigset_t none, child;
	pid_t pid, thread;
	int status;

	if (argc != 3)
		return 2;
	/* Comes while waiting alone. */
	sigemptyset(&none);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signal(SIGCHLD, on_child);
	count_all = getenv("KILLAT_ALL") != NULL;
	pid = (pid_t)atoi(argv[1]);
	at = atol(argv[2]);
	follow(pid);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		thread = waitpid(-1, &status, WNOHANG | __WALL);
		if (thread == 0) {
			if (ppoll(&input, 1, NULL, &none) > 0)
				return let_go(pid, calls);
			continue;
		}
		if (thread < 0 || (thread == pid && !WIFSTOPPED(status)))
			return 3;
		if (!WIFSTOPPED(status))
			continue; /* a thread that is over */
		if (EVENT_OF(status) != 0 || WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			go_on(thread, signal_of(status));
			continue;
		}
		call = call_of(thread);
		if (call >= 0 && ++calls == at) {
			kill(pid, SIGKILL);
			printf("%ld\n", call);
			return 0;
		}
		go_on(thread, 0);
	}
}
