/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/confine.h"

#include "cli/cli.h"

#include <errno.h>
#include <grp.h>
#include <jansson.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

static int
drop_root(void)
{
	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -errno;
	return 0;
}

#ifdef WITH_SANITIZERS
static int
filter_calls(void)
{
	return 0;
}
#else
/* Everything else kills. mmap and mprotect are malloc's. */
static const char *const calls[] = { "read", "readv", "write", "writev", "lseek", "_llseek",
	"fstat", "fstat64", "newfstatat", "mmap", "mmap2", "munmap", "mremap", "mprotect",
	"madvise", "brk", "futex", "futex_time64", "clock_gettime", "clock_gettime64",
	"gettimeofday", "time", "getrandom", "rt_sigreturn", "sigreturn", "rt_sigprocmask",
	"rt_sigaction", "getpid", "gettid", "tgkill", "exit", "exit_group", "restart_syscall" };

static int
filter_calls(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = ctx != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(calls) && r == 0; i++) {
		int nr = seccomp_syscall_resolve_name(calls[i]);

		if (nr != __NR_SCMP_ERROR)
			r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
		/* Calls of another architecture of the same family. */
		if (r == -EDOM)
			r = 0;
	}
	/* stdio asks whether it writes to a terminal. */
	if (r == 0)
		r = seccomp_rule_add(
		    ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1_32(SCMP_CMP_EQ, TCGETS));
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}
#endif

static int
confine(void)
{
	const struct rlimit none = { 0, 0 };
	int r;

	if (setrlimit(RLIMIT_CORE, &none) < 0 || setrlimit(RLIMIT_NPROC, &none) < 0)
		return -errno;
	r = drop_root();
	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return filter_calls();
}

int
confine_run(int (*fn)(void *arg), void *arg)
{
	int status, r;
	pid_t pid;

	/* Both open a file where it has to be done later. */
	json_object_seed(0);
	text_width("\u00e9");
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		cli_error("cannot start the reader: %s", strerror(errno));
		return -1;
	}
	if (pid == 0) {
		r = confine();
		if (r < 0) {
			cli_error("cannot confine the reader: %s", strerror(-r));
			_exit(CLI_ERROR);
		}
		r = fn(arg);
		if (fflush(stdout) != 0 && r == CLI_OK)
			r = CLI_ERROR;
		_exit(r);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR) {
			cli_error("lost the reader: %s", strerror(errno));
			return -1;
		}
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	cli_error("the reader was ended by signal %d (%s): nothing that it read is to be believed",
	    WTERMSIG(status), strsignal(WTERMSIG(status)));
	return -1;
}
