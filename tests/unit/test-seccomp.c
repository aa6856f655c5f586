/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each attempt runs in a child of its own: the filter cannot be taken off again. */
#include "config.h"
#include "daemon/log.h"
#include "daemon/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>

#define FINE 10

/* A child's end: FINE, the errno of the attempt, or minus the signal. */
static int
attempt(enum role r, int (*fn)(void))
{
	int status, e;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		priv_seccomp(r);
		e = fn();
		syscall(SYS_exit_group, e == 0 ? FINE : 100 + e);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return -WTERMSIG(status);
	return WEXITSTATUS(status) == FINE ? FINE : WEXITSTATUS(status) - 100;
}

static int
try_exec(void)
{
	char *const none[] = { NULL };

	return execve("/bin/true", none, none) < 0 ? errno : 0;
}

static int
try_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ? errno : 0;
}

static int
try_inet(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0;
}

static int
try_unix(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0;
}

static int
try_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0) < 0 ? errno : 0;
}

static int
try_open(void)
{
	return open("/dev/null", O_RDONLY) < 0 ? errno : 0;
}

static int
try_create(void)
{
	return open("/dev/null", O_RDWR) < 0 ? errno : 0;
}

static int
try_exec_memory(void)
{
	void *p = mmap(
	    NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : 0;
}

static int
try_setns(void)
{
	/* A bad fd: passing the filter shows as EBADF. */
	return setns(-1, 0) < 0 && errno == EBADF ? 0 : errno;
}

static int
try_unshare(void)
{
	return unshare(CLONE_NEWUSER) < 0 ? errno : 0;
}

static int
try_fork(void)
{
	pid_t pid = fork();

	return pid < 0 ? errno : 0;
}

static int
try_usual(void)
{
	int s[2], e = epoll_create1(EPOLL_CLOEXEC);
	void *p = malloc(1 << 20), *q = malloc(100);

	if (p == NULL || q == NULL)
		return ENOMEM;
	memset(p, 1, 1 << 20);
	free(p);
	free(q);
	if (e < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s) < 0)
		return errno;
	log_error("a line");
	return 0;
}

static int
try_abort(void)
{
	abort();
}

static const struct {
	const char *name;
	int (*fn)(void);
	/* FINE, an errno, or minus a signal: what each role gets. */
	int keeper, warden, controller, capture, relay, discovery, probe, herald;
} t[] = {
	{ "execve", try_exec, -SIGSYS, EPERM, EPERM, -SIGSYS, -SIGSYS, -SIGSYS, -SIGSYS, -SIGSYS },
	{ "ptrace", try_ptrace, -SIGSYS, EPERM, EPERM, -SIGSYS, -SIGSYS, -SIGSYS, -SIGSYS,
	    -SIGSYS },
	{ "fork", try_fork, -SIGSYS, EPERM, EPERM, -SIGSYS, -SIGSYS, -SIGSYS, -SIGSYS, -SIGSYS },
	{ "executable memory", try_exec_memory, -SIGSYS, EPERM, EPERM, -SIGSYS, -SIGSYS, -SIGSYS,
	    -SIGSYS, EACCES },
	{ "internet socket", try_inet, -SIGSYS, FINE, EPERM, -SIGSYS, -SIGSYS, -SIGSYS, -SIGSYS,
	    FINE },
	{ "unix socket", try_unix, -SIGSYS, FINE, FINE, -SIGSYS, FINE, -SIGSYS, -SIGSYS, FINE },
	{ "netlink socket", try_netlink, -SIGSYS, FINE, EPERM, -SIGSYS, -SIGSYS, -SIGSYS, -SIGSYS,
	    EACCES },
	{ "open to read", try_open, -SIGSYS, FINE, FINE, EACCES, FINE, -SIGSYS, -SIGSYS, FINE },
	{ "open to write", try_create, -SIGSYS, EPERM, FINE, EACCES, -SIGSYS, -SIGSYS, -SIGSYS,
	    -SIGSYS },
	{ "setns", try_setns, -SIGSYS, FINE, EPERM, -SIGSYS, -SIGSYS, -SIGSYS, -SIGSYS, -SIGSYS },
	{ "user namespace", try_unshare, -SIGSYS, EPERM, EPERM, -SIGSYS, -SIGSYS, -SIGSYS, -SIGSYS,
	    -SIGSYS },
	{ "abort", try_abort, -SIGABRT, -SIGABRT, -SIGABRT, -SIGABRT, -SIGABRT, -SIGABRT, -SIGABRT,
	    -SIGABRT },
	{ "what a loop needs", try_usual, -SIGSYS, FINE, FINE, FINE, FINE, FINE, -SIGSYS, FINE },
};

static void
each_role_gets_its_calls_and_no_others(void **state)
{
	size_t i, k;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		const struct {
			enum role role;
			int want;
		} per[] = {
			{ ROLE_KEEPER, t[i].keeper },
			{ ROLE_WARDEN, t[i].warden },
			{ ROLE_CONTROLLER, t[i].controller },
			{ ROLE_CAPTURE, t[i].capture },
			{ ROLE_RELAY, t[i].relay },
			{ ROLE_DISCOVERY, t[i].discovery },
			{ ROLE_PROBE, t[i].probe },
			{ ROLE_HERALD, t[i].herald },
		};

		for (k = 0; k < ARRAY_SIZE(per); k++) {
			int got = attempt(per[k].role, t[i].fn);

			if (got != per[k].want)
				fail_msg("%s as %s: expected %d, got %d", t[i].name,
				    role_name(per[k].role), per[k].want, got);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_role_gets_its_calls_and_no_others),
	};

#ifdef WITH_SANITIZERS
	/* cmocka's skip() would be printed as a failure. */
	puts("1..0 # SKIP built with sanitizers: there is no filter");
	(void)tests;
	return 0;
#else
	return cmocka_run_group_tests(tests, NULL, NULL);
#endif
}
