/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See sweep.h. A keeper is known by the name of its executable and by our pid namespace: a
 * container's own process of that name is none of ours. The path and the file may differ, after an
 * upgrade.
 */
#include "config.h"
#include "daemon/sweep.h"

#include "daemon/log.h"
#include "daemon/place.h"
#include "rules/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define END_MS 3000
#define END_STEP_MS 50

static bool
same_namespace(int proc, const char *pid, const char *ns)
{
	char path[64];
	struct stat own, its;

	snprintf(path, sizeof(path), "%s/ns/%s", pid, ns);
	if (fstatat(proc, path, &its, 0) < 0)
		return false;
	snprintf(path, sizeof(path), "self/ns/%s", ns);
	return fstatat(proc, path, &own, 0) == 0 && own.st_ino == its.st_ino &&
	       own.st_dev == its.st_dev;
}

static bool
is_keeper(int proc, const char *pid)
{
	static const char name[] = "/nanoseg-keeper";
	char path[32], exe[PATH_MAX];
	const char *base;
	ssize_t n;

	snprintf(path, sizeof(path), "%.10s/exe", pid);
	n = readlinkat(proc, path, exe, sizeof(exe) - 1);
	if (n <= 0)
		return false;
	exe[n] = '\0';
	base = strrchr(exe, '/');
	/* After an upgrade the kernel adds " (deleted)". */
	return base != NULL && strncmp(base, name, sizeof(name) - 1) == 0 &&
	       (base[sizeof(name) - 1] == '\0' || base[sizeof(name) - 1] == ' ') &&
	       same_namespace(proc, pid, "pid");
}

/* Signals every keeper; how many there are, or a negative errno. */
static int
signal_keepers(int sig)
{
	struct dirent *e;
	DIR *d = opendir("/proc");
	int n = 0;

	if (d == NULL)
		return -errno;
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9' || !is_keeper(dirfd(d), e->d_name))
			continue;
		n++;
		kill((pid_t)strtol(e->d_name, NULL, 10), sig);
	}
	closedir(d);
	return n;
}

int
sweep_keepers(void)
{
	int waited, n = signal_keepers(SIGTERM);

	for (waited = 0; n > 0 && waited < END_MS; waited += END_STEP_MS) {
		struct timespec pause = { 0, 50000000 };

		nanosleep(&pause, NULL);
		n = signal_keepers(0);
	}
	if (n < 0)
		log_error("cannot look for keepers in /proc: %s", strerror(-n));
	if (n > 0)
		log_error("%d keepers do not end", n);
	return n < 0 ? n : n > 0 ? -ETIMEDOUT : 0;
}

static bool
nobody_answers(const char *path, int type)
{
	_cleanup_close_ int fd = -1;
	int r = place_connect(path, type, &fd);

	return r == -ECONNREFUSED || r == -ENOENT;
}

/* A controller whose supervisor was killed still answers for a moment. */
static bool
nobody_answers_soon(const char *path, int type)
{
	const struct timespec pause = { 0, END_STEP_MS * 1000000L };
	int waited;

	for (waited = 0; waited <= END_MS; waited += END_STEP_MS) {
		if (nobody_answers(path, type))
			return true;
		nanosleep(&pause, NULL);
	}
	log_error("%s is left: somebody still answers there", path);
	return false;
}

static bool
is_keeper_socket(const char *name)
{
	const size_t len = strlen("keeper-01234567.sock");

	return strlen(name) == len && strncmp(name, "keeper-", 7) == 0 &&
	       strcmp(name + len - 5, ".sock") == 0;
}

void
sweep_runtime(const char *dir, const char *socket_path, const char *pid_file, bool all)
{
	struct dirent *e;
	DIR *d;

	if (nobody_answers_soon(socket_path, SOCK_STREAM)) {
		unlink(socket_path);
		unlink(pid_file);
	}
	d = all ? opendir(dir) : NULL;
	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL) {
		char path[PATH_MAX];

		if (!is_keeper_socket(e->d_name) ||
		    snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) >= (int)sizeof(path))
			continue;
		if (nobody_answers(path, SOCK_SEQPACKET))
			unlink(path);
	}
	closedir(d);
}
