/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the supervisor's privileges to those of a role's program. A program starts as root with just
 * the capabilities it drops from: its own, and those that dropping takes.
 */
#include "config.h"
#include "daemon/supervisor.h"

#include "daemon/log.h"
#include "daemon/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define CAP(x) (1ULL << CAP_##x)
#define CAPS_TO_DROP (CAP(SETUID) | CAP(SETGID) | CAP(SETPCAP))
#define MAX_ARGS 24

static int
cut_bounding(uint64_t keep)
{
	int cap;

	for (cap = 0; cap < 64; cap++) {
		int held = prctl(PR_CAPBSET_READ, cap);

		if (held < 0) /* past the kernel's last capability */
			return 0;
		if (held == 1 && (keep & (1ULL << cap)) == 0 && prctl(PR_CAPBSET_DROP, cap) < 0)
			return -errno;
	}
	return 0;
}

int
sup_drop(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	uint64_t all = CAPS_TO_DROP, own = CAP(KILL) | CAP(SETPCAP);
	int role, r;

	for (role = 0; role < ROLE_COUNT_; role++) {
		const struct priv_caps *p = priv_caps_of((enum role)role);

		all |= p->caps | p->opening;
	}
	r = cut_bounding(all);
	if (r < 0)
		return r;
	memset(data, 0, sizeof(data));
	data[0].effective = data[0].permitted = (uint32_t)own;
	data[1].effective = data[1].permitted = (uint32_t)(own >> 32);
	if (syscall(SYS_capset, &head, data) < 0)
		return -errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0) < 0)
		return -errno;
	return 0;
}

static void
put_number(char *buf, size_t size, unsigned value)
{
	snprintf(buf, size, "%u", value);
}

static void
reset_signals(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	sigaction(SIGPIPE, &dfl, NULL);
	sigaction(SIGHUP, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static char *const *
environment(void)
{
#ifdef WITH_SANITIZERS
	extern char **environ;

	return environ;
#else
	static char *const env[] = { (char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };

	return env;
#endif
}

void
sup_exec(const struct sup_config *cfg, enum role r, unsigned keep_fds, const char **argv)
{
	const struct priv_caps *p = priv_caps_of(r);
	const char *all[MAX_ARGS] = { NULL };
	char path[PATH_MAX], uid[16], gid[16];
	size_t n = 0;
	int null;

	put_number(uid, sizeof(uid), cfg->ids.uid[r]);
	put_number(gid, sizeof(gid), cfg->ids.gid[r]);
	snprintf(path, sizeof(path), "%s/nanoseg-%s", cfg->role_dir, role_name(r));
	all[n++] = path;
	all[n++] = "--instance";
	all[n++] = cfg->instance;
	all[n++] = "--uid";
	all[n++] = uid;
	all[n++] = "--gid";
	all[n++] = gid;
	all[n++] = "--log";
	all[n++] = cfg->log;
	while (*argv != NULL && n < MAX_ARGS - 1)
		all[n++] = *argv++;

	reset_signals();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
	    syscall(SYS_close_range, keep_fds, ~0U, 0) < 0 || chdir("/") < 0 ||
	    cut_bounding(p->caps | p->opening | CAPS_TO_DROP) < 0) {
		log_error("cannot prepare the %s: %s", role_name(r), strerror(errno));
		_exit(127);
	}
	execve(path, (char *const *)all, environment());
	log_error("cannot run %s: %s", path, strerror(errno));
	_exit(127);
}
