/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system calls of each role: groups by what needs them, and which groups a role has. The roles
 * that read what a container or a stranger wrote are killed for anything else; the warden and the
 * controller get EPERM, logged by the kernel: their death would cost more than a refused call.
 */
#include "config.h"
#include "daemon/log.h"
#include "daemon/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define G_LIBC 0x001  /* memory, time, exit and abort, reading and writing what is open */
#define G_MSG 0x002   /* messages with fds and memfds */
#define G_LOOP 0x004  /* libevent */
#define G_READ 0x008  /* files, read only */
#define G_STORE 0x010 /* files of its own: SQLite, segments */
#define G_HTTP 0x020  /* libmicrohttpd on a handed socket */
#define G_NETNS 0x040 /* entering namespaces, watching folders */
#define G_SOCKET 0x080
#define G_PIPE 0x100
#define G_ACCEPT 0x200
#define G_RESOLVE 0x400 /* names, by libc */
#define G_THREAD 0x800

static const struct {
	const char *name;
	uint32_t groups;
} calls[] = {
	{ "read", G_LIBC },
	{ "write", G_LIBC },
	{ "readv", G_LIBC },
	{ "writev", G_LIBC },
	{ "close", G_LIBC },
	{ "fstat", G_LIBC },
	{ "lseek", G_LIBC },
	{ "munmap", G_LIBC },
	{ "mremap", G_LIBC },
	{ "madvise", G_LIBC },
	{ "brk", G_LIBC },
	{ "rt_sigaction", G_LIBC },
	{ "rt_sigprocmask", G_LIBC },
	{ "rt_sigreturn", G_LIBC },
	{ "sigreturn", G_LIBC },
	{ "sigaltstack", G_LIBC },
	{ "futex", G_LIBC },
	{ "futex_time64", G_LIBC },
	{ "getpid", G_LIBC },
	{ "gettid", G_LIBC },
	{ "tgkill", G_LIBC },
	{ "exit", G_LIBC },
	{ "exit_group", G_LIBC },
	{ "restart_syscall", G_LIBC },
	{ "clock_gettime", G_LIBC },
	{ "clock_gettime64", G_LIBC },
	{ "clock_getres", G_LIBC },
	{ "clock_nanosleep", G_LIBC },
	{ "clock_nanosleep_time64", G_LIBC },
	{ "nanosleep", G_LIBC },
	{ "gettimeofday", G_LIBC },
	{ "time", G_LIBC },
	{ "getrandom", G_LIBC },
	{ "getuid", G_LIBC },
	{ "geteuid", G_LIBC },
	{ "getgid", G_LIBC },
	{ "getegid", G_LIBC },
	{ "uname", G_LIBC },
	{ "sysinfo", G_LIBC },
	{ "prlimit64", G_LIBC },
	{ "getrlimit", G_LIBC },
	{ "ugetrlimit", G_LIBC },
	{ "sched_yield", G_LIBC },
	{ "sched_getaffinity", G_LIBC },
	{ "set_robust_list", G_LIBC },
	{ "rseq", G_LIBC },
	{ "fcntl", G_LIBC },
	{ "fcntl64", G_LIBC },
	{ "poll", G_LIBC },
	{ "ppoll", G_LIBC },
	{ "ppoll_time64", G_LIBC },

	{ "recvmsg", G_MSG },
	{ "sendmsg", G_MSG },
	{ "recvfrom", G_MSG },
	{ "sendto", G_MSG },
	{ "getsockopt", G_MSG },
	{ "memfd_create", G_MSG },
	{ "dup", G_MSG },

	{ "epoll_create1", G_LOOP },
	{ "epoll_ctl", G_LOOP },
	{ "epoll_wait", G_LOOP },
	{ "epoll_pwait", G_LOOP },
	{ "epoll_pwait2", G_LOOP },
	{ "eventfd2", G_LOOP },
	{ "timerfd_create", G_LOOP },
	{ "timerfd_settime", G_LOOP },
	{ "timerfd_settime64", G_LOOP },
	{ "timerfd_gettime", G_LOOP },
	{ "timerfd_gettime64", G_LOOP },
	{ "signalfd4", G_LOOP },
	{ "setsockopt", G_LOOP | G_SOCKET },
	{ "getsockname", G_LOOP | G_SOCKET },
	{ "getpeername", G_LOOP | G_SOCKET },
	{ "shutdown", G_LOOP | G_SOCKET },
	{ "recvmmsg", G_LOOP },

	{ "pread64", G_READ | G_STORE },
	{ "newfstatat", G_READ | G_STORE },
	{ "fstatat64", G_READ | G_STORE },
	{ "statx", G_READ | G_STORE },
	{ "stat", G_READ | G_STORE },
	{ "lstat", G_READ | G_STORE },
	{ "access", G_READ | G_STORE },
	{ "faccessat", G_READ | G_STORE },
	{ "faccessat2", G_READ | G_STORE },
	{ "readlink", G_READ | G_STORE },
	{ "readlinkat", G_READ | G_STORE },
	{ "getdents64", G_READ | G_STORE },
	{ "getcwd", G_READ | G_STORE },
	{ "statfs", G_READ | G_STORE },
	{ "fstatfs", G_READ | G_STORE },
	{ "fadvise64", G_READ | G_STORE },

	{ "open", G_STORE },
	{ "openat", G_STORE },
	{ "pwrite64", G_STORE },
	{ "fsync", G_STORE },
	{ "fdatasync", G_STORE },
	{ "ftruncate", G_STORE },
	{ "fallocate", G_STORE },
	{ "unlink", G_STORE },
	{ "unlinkat", G_STORE },
	{ "rename", G_STORE },
	{ "renameat", G_STORE },
	{ "renameat2", G_STORE },
	{ "link", G_STORE },
	{ "linkat", G_STORE },
	{ "mkdir", G_STORE },
	{ "mkdirat", G_STORE },
	{ "rmdir", G_STORE },
	{ "chmod", G_STORE },
	{ "fchmod", G_STORE },
	{ "fchmodat", G_STORE },
	{ "fchown", G_STORE },
	{ "flock", G_STORE },
	{ "umask", G_STORE },
	{ "utimensat", G_STORE },
	{ "msync", G_STORE },
	{ "copy_file_range", G_STORE },
	/* Is the clock synchronized? Setting it takes a capability. */
	{ "adjtimex", G_STORE },
	{ "clock_adjtime", G_STORE },
	{ "clock_adjtime64", G_STORE },

	{ "accept4", G_HTTP | G_ACCEPT },
	{ "accept", G_HTTP | G_ACCEPT },
	{ "sendfile", G_HTTP },
	{ "sendmmsg", G_HTTP | G_NETNS | G_RESOLVE },
	{ "pipe2", G_LOOP | G_PIPE | G_HTTP },
	{ "splice", G_PIPE | G_HTTP },

	{ "setns", G_NETNS },
	{ "inotify_init1", G_NETNS },
	{ "inotify_add_watch", G_NETNS },
	{ "inotify_rm_watch", G_NETNS },
	{ "openat2", G_NETNS },
	{ "pidfd_open", G_NETNS },

	{ "bind", G_NETNS },
	{ "connect", G_SOCKET | G_NETNS },
};

/* Socket families, by bit; no other socket can be made. */
static const struct profile {
	uint32_t groups;
	uint64_t families;
	bool kill;
	/* EACCES where a library tries and can do without: opening a file; for names, a thread by
	 * the newer call, a module, and a look at the links. */
	bool refuse_open, refuse_modules;
} profiles[ROLE_COUNT_] = {
	[ROLE_KEEPER] = { G_LIBC | G_MSG | G_ACCEPT, 0, true, false },
	[ROLE_WARDEN] = { G_LIBC | G_MSG | G_LOOP | G_READ | G_NETNS | G_SOCKET,
	    1ULL << AF_NETLINK | 1ULL << AF_PACKET | 1ULL << AF_INET | 1ULL << AF_INET6 |
		1ULL << AF_UNIX,
	    false, false },
	[ROLE_CONTROLLER] = { G_LIBC | G_MSG | G_LOOP | G_READ | G_STORE | G_HTTP | G_THREAD,
	    1ULL << AF_UNIX, false, false },
	/* libpcap's statistics look for a file of the interface. */
	[ROLE_CAPTURE] = { G_LIBC | G_MSG | G_LOOP, 0, true, true },
	[ROLE_RELAY] = { G_LIBC | G_MSG | G_LOOP | G_READ | G_PIPE | G_SOCKET, 1ULL << AF_UNIX,
	    true, false },
	[ROLE_DISCOVERY] = { G_LIBC | G_MSG | G_LOOP, 0, true, false },
	[ROLE_HERALD] = { G_LIBC | G_MSG | G_LOOP | G_READ | G_SOCKET | G_RESOLVE | G_THREAD,
	    1ULL << AF_UNIX | 1ULL << AF_INET | 1ULL << AF_INET6, true, false, true },
	[ROLE_PROBE] = { G_LIBC | G_MSG | G_SOCKET, 0, true, false },
};

#define THREAD ((scmp_datum_t)(CLONE_VM | CLONE_THREAD | CLONE_SIGHAND))

struct arg_rule {
	const char *call;
	struct scmp_arg_cmp arg;
	uint32_t groups;
};

/* Masks are of the low 32 bits: these arguments are ints. */
static const struct arg_rule arg_rules[] = {
	{ "mmap", { 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0 }, G_LIBC },
	{ "mmap2", { 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0 }, G_LIBC },
	{ "mprotect", { 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0 }, G_LIBC },
	{ "prctl", { 0, SCMP_CMP_EQ, PR_SET_NAME, 0 }, G_LIBC },
	{ "prctl", { 0, SCMP_CMP_EQ, PR_GET_NAME, 0 }, G_LIBC },
	{ "prctl", { 0, SCMP_CMP_EQ, 0x53564d41 /* PR_SET_VMA: names of malloc's areas */, 0 },
	    G_LIBC },
	{ "ioctl", { 1, SCMP_CMP_EQ, FIONREAD, 0 }, G_LIBC },
	{ "ioctl", { 1, SCMP_CMP_EQ, FIONBIO, 0 }, G_LIBC },
	{ "ioctl", { 1, SCMP_CMP_EQ, TCGETS, 0 }, G_LIBC },
	{ "ioctl", { 1, SCMP_CMP_EQ, NS_GET_USERNS, 0 }, G_NETNS },
	{ "ioctl", { 1, SCMP_CMP_EQ, NS_GET_PARENT, 0 }, G_NETNS },
	{ "ioctl", { 1, SCMP_CMP_EQ, NS_GET_NSTYPE, 0 }, G_NETNS },
	{ "ioctl", { 1, SCMP_CMP_EQ, NS_GET_OWNER_UID, 0 }, G_NETNS },
	{ "ioctl", { 1, SCMP_CMP_EQ, SIOCGSKNS, 0 }, G_NETNS },
	/* A namespace to try features in. */
	{ "unshare", { 0, SCMP_CMP_EQ, CLONE_NEWNET, 0 }, G_NETNS },
	{ "clone", { 0, SCMP_CMP_MASKED_EQ, THREAD, THREAD }, G_THREAD },
	{ "open", { 1, SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY }, G_READ },
	{ "openat", { 2, SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY }, G_READ },
};

static int
allow(scmp_filter_ctx ctx, const char *name, const struct scmp_arg_cmp *arg)
{
	int nr = seccomp_syscall_resolve_name(name);

	/* A library older than the call: the kernel answers ENOSYS or the filter refuses. */
	if (nr == __NR_SCMP_ERROR)
		return 0;
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, arg != NULL ? 1 : 0, arg);
}

static int
add_sockets(scmp_filter_ctx ctx, const struct profile *p)
{
	int family, r;

	for (family = 0; family < 64; family++) {
		struct scmp_arg_cmp arg = { 0, SCMP_CMP_EQ, (scmp_datum_t)family, 0 };

		if ((p->families & (1ULL << family)) == 0)
			continue;
		r = allow(ctx, "socket", &arg);
		if (r < 0)
			return r;
	}
	/* A pair reaches nobody else; libevent wakes itself with one where there is no eventfd. */
	if (p->groups & G_LOOP) {
		static const struct scmp_arg_cmp local = { 0, SCMP_CMP_EQ, AF_UNIX, 0 };

		return allow(ctx, "socketpair", &local);
	}
	return 0;
}

static int
refuse_modules(scmp_filter_ctx ctx)
{
	static const struct scmp_arg_cmp netlink = { 0, SCMP_CMP_EQ, AF_NETLINK, 0 },
					 exec = { 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC };
	int r = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1, &netlink);

	if (r == 0)
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(mmap), 1, &exec);
	return r;
}

static int
filter_fill(scmp_filter_ctx ctx, const struct profile *p)
{
	size_t i;
	int r;

	(void)seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* Both need a newer kernel or library, and neither changes what is allowed. */
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		if ((calls[i].groups & p->groups) == 0)
			continue;
		r = allow(ctx, calls[i].name, NULL);
		if (r < 0)
			return r;
	}
	for (i = 0; i < ARRAY_SIZE(arg_rules); i++) {
		if ((arg_rules[i].groups & p->groups) == 0)
			continue;
		/* Allowed without a condition already. */
		if (arg_rules[i].groups == G_READ && (p->groups & G_STORE))
			continue;
		r = allow(ctx, arg_rules[i].call, &arg_rules[i].arg);
		if (r < 0)
			return r;
	}
	if (p->refuse_open) {
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 0);
		if (r < 0)
			return r;
	}
	/* ENOSYS: libc then makes its thread by clone, whose flags can be looked at. */
	if (p->groups & G_THREAD) {
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
		if (r < 0)
			return r;
	}
	r = p->refuse_modules ? refuse_modules(ctx) : 0;
	return r < 0 ? r : add_sockets(ctx, p);
}

void
priv_seccomp(enum role r)
{
	const struct profile *p = &profiles[r];
	scmp_filter_ctx ctx;
	int error = -ENOMEM;

#ifdef WITH_SANITIZERS
	/* Their runtimes make calls that no role should. */
	log_warn("built with sanitizers: system calls are not restricted");
	return;
#endif
	ctx = seccomp_init(p->kill ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM));
	if (ctx != NULL)
		error = filter_fill(ctx, p);
	if (error == 0)
		error = seccomp_load(ctx);
	seccomp_release(ctx);
	if (error < 0) {
		log_error(
		    "cannot restrict system calls (seccomp): %s; not running", strerror(-error));
		_exit(1);
	}
}
