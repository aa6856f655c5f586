/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads of /proc and of the netns folders. Cheap by intent: a process costs one readlink, its
 * cgroup file is read only when somebody wants to know.
 */
#include "daemon/l0.h"
#include "daemon/proto.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * What engines put before the 64 digits in a systemd scope's name. Podman and CRI-O do the same to
 * the name of a folder where there is no systemd.
 */
static const struct {
	const char *text;
	bool folder;
} prefixes[] = {
	{ "docker-", false },
	{ "cri-containerd-", false },
	{ "libpod-", true },
	{ "crio-", true },
};

#define STAT_START_FIELD 22

/* How a runtime's process is named until it becomes the container's. */
static const char *const runtimes[] = { "runc:[", "crun", "youki" };

/* Podman's own folder: plain digits below it are a pod. */
#define PODMAN_PARENT "libpod_parent"
#define BUILDKIT "buildkit"

static bool
is_hex_id(const char *s, size_t len)
{
	if (len != L0_CONTAINER_ID_LEN)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isdigit((unsigned char)s[i]) && !(s[i] >= 'a' && s[i] <= 'f'))
			return false;
	return true;
}

/* "docker-<id>.scope", "docker/<id>", "kubepods/burstable/pod<uid>/<id>", "libpod-<id>". */
static const char *
component_id(const char *s, size_t len)
{
	static const char suffix[] = ".scope";
	const size_t suffix_len = sizeof(suffix) - 1;
	bool scope = len > suffix_len && memcmp(s + len - suffix_len, suffix, suffix_len) == 0;

	if (is_hex_id(s, len))
		return s;
	if (scope)
		len -= suffix_len;
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		size_t n = strlen(prefixes[i].text);

		if ((scope || prefixes[i].folder) && len > n &&
		    memcmp(s, prefixes[i].text, n) == 0 && is_hex_id(s + n, len - n))
			return s + n;
	}
	return NULL;
}

/* systemd's escapes undone; false if what comes out is not a name as machines have it. */
static bool
machine_name(const char *s, size_t len, char ret[static L0_NAME_LEN + 1])
{
	static const char accept[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789._-";
	char name[L0_NAME_LEN + 1] = "", hex[3] = "";
	size_t n = 0, step;

	for (size_t i = 0; i < len; i += step) {
		step = len - i >= 4 && memcmp(s + i, "\\x", 2) == 0 &&
			       isxdigit((unsigned char)s[i + 2]) &&
			       isxdigit((unsigned char)s[i + 3])
			   ? 4
			   : 1;
		if (n == L0_NAME_LEN)
			return false;
		if (step == 4) {
			memcpy(hex, s + i + 2, 2);
			name[n++] = (char)strtoul(hex, NULL, 16);
		} else {
			name[n++] = s[i];
		}
		if (name[n - 1] == '\0' || strchr(accept, name[n - 1]) == NULL)
			return false;
	}
	if (n == 0)
		return false;
	memcpy(ret, name, sizeof(name));
	return true;
}

/*
 * "machine.slice/machine-NAME.scope" and "machine.slice/systemd-nspawn@NAME.service" are
 * systemd's, "lxc.payload.NAME" and "lxc/NAME" LXC's. "buildkit/ID" is a step of a build: each has
 * an id of its own, so all are called by what makes them.
 */
static bool
component_machine(const char *parent, size_t parent_len, const char *s, size_t len,
    char ret[static L0_NAME_LEN + 1])
{
	static const struct {
		const char *parent, *head, *tail;
	} forms[] = {
		{ "machine.slice", "machine-", ".scope" },
		{ "machine.slice", "systemd-nspawn@", ".service" },
		{ NULL, "lxc.payload.", "" },
		{ "lxc", "", "" },
	};

	if (parent_len == strlen(BUILDKIT) && memcmp(parent, BUILDKIT, parent_len) == 0 &&
	    len > 0) {
		memcpy(ret, BUILDKIT, sizeof(BUILDKIT));
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		size_t head = strlen(forms[i].head), tail = strlen(forms[i].tail);

		if (forms[i].parent != NULL &&
		    (parent_len != strlen(forms[i].parent) ||
			memcmp(parent, forms[i].parent, parent_len) != 0))
			continue;
		if (len > head + tail && memcmp(s, forms[i].head, head) == 0 &&
		    memcmp(s + len - tail, forms[i].tail, tail) == 0 &&
		    machine_name(s + head, len - head - tail, ret))
			return true;
	}
	return false;
}

static uint64_t
place_of(const char *s, const char *end)
{
	uint64_t h = (uint64_t)(end - s);

	for (; s < end; s++)
		h = hash_mix64(h ^ (uint8_t)*s);
	return h | 1;
}

static bool
path_claim(const char *path, const char *end, struct l0_claim *ret)
{
	struct l0_claim c = { .place = 0 };
	const char *s = path, *parent = path;
	size_t parent_len = 0;
	bool podman = false;

	while (s < end) {
		const char *slash = memchr(s, '/', (size_t)(end - s));
		const char *stop = slash != NULL ? slash : end;
		size_t len = (size_t)(stop - s);
		const char *id = component_id(s, len);

		if (id != NULL && !(podman && id == s))
			memcpy(c.id, id, L0_CONTAINER_ID_LEN);
		if (c.id[0] != '\0' || component_machine(parent, parent_len, s, len, c.machine)) {
			c.place = place_of(path, stop);
			*ret = c;
			return true;
		}
		if (len == sizeof(PODMAN_PARENT) - 1 && memcmp(s, PODMAN_PARENT, len) == 0)
			podman = true;
		parent = s;
		parent_len = len;
		s = stop + 1;
	}
	return false;
}

bool
l0_claim_parse(const char *text, size_t len, struct l0_claim *ret)
{
	const char *p = text, *end = text + len;

	/* Each line is "hierarchy:controllers:path". */
	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		const char *line_end = nl != NULL ? nl : end;
		const char *a = memchr(p, ':', (size_t)(line_end - p));
		const char *b = a == NULL ? NULL : memchr(a + 1, ':', (size_t)(line_end - a - 1));

		if (b != NULL && path_claim(b + 1, line_end, ret))
			return true;
		p = line_end + 1;
	}
	return false;
}

size_t
l0_dirs(struct l0_dir ret[static L0_DIRS_MAX])
{
	struct stat run, var_run;
	size_t n = 0;

	ret[n++] = (struct l0_dir){ "/run/docker/netns", NETNS_F_ENGINE };
	ret[n++] = (struct l0_dir){ "/run/netns", NETNS_F_NAMED };
	if (stat("/var/run", &var_run) < 0)
		return n;
	if (stat("/run", &run) == 0 && run.st_dev == var_run.st_dev && run.st_ino == var_run.st_ino)
		return n;
	ret[n++] = (struct l0_dir){ "/var/run/docker/netns", NETNS_F_ENGINE };
	ret[n++] = (struct l0_dir){ "/var/run/netns", NETNS_F_NAMED };
	return n;
}

int
l0_open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

static int
netns_ino(int dirfd, const char *path, uint64_t *ret)
{
	static const char head[] = "net:[";
	unsigned long long ino;
	char link[64], *end;
	ssize_t n;

	n = readlinkat(dirfd, path, link, sizeof(link) - 1);
	if (n < 0)
		return -errno;
	link[n] = '\0';
	if (strncmp(link, head, sizeof(head) - 1) != 0)
		return -EBADMSG;
	errno = 0;
	ino = strtoull(link + sizeof(head) - 1, &end, 10);
	if (errno != 0 || *end != ']')
		return -EBADMSG;
	*ret = ino;
	return 0;
}

int
l0_pid_netns_ino(int procfd, pid_t pid, uint64_t *ret)
{
	char path[32];

	snprintf(path, sizeof(path), "%d/ns/net", (int)pid);
	return netns_ino(procfd, path, ret);
}

int
l0_task_netns_ino(int taskfd, uint64_t *ret)
{
	return netns_ino(taskfd, "ns/net", ret);
}

int
l0_open_task(int procfd, pid_t pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "%d", (int)pid);
	fd = openat(procfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int
l0_task_claim(int taskfd, struct l0_claim *ret)
{
	_cleanup_close_ int fd = -1;
	char text[8192];
	size_t have = 0;
	ssize_t n;

	fd = openat(taskfd, "cgroup", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (have < sizeof(text)) {
		n = read(fd, text + have, sizeof(text) - have);
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return l0_claim_parse(text, have, ret) ? 0 : -ENOENT;
}

int
l0_pid_claim(int procfd, pid_t pid, struct l0_claim *ret)
{
	_cleanup_close_ int task = l0_open_task(procfd, pid);

	return task < 0 ? task : l0_task_claim(task, ret);
}

static void
close_dir(DIR **d)
{
	if (*d != NULL)
		closedir(*d);
}

int
l0_each_process(l0_process_fn fn, void *arg)
{
	_cleanup_(close_dir) DIR *d = NULL;
	struct dirent *e;
	uint64_t ino;
	char *end;
	long pid;
	int r;

	d = opendir("/proc");
	if (d == NULL)
		return -errno;
	while (errno = 0, (e = readdir(d)) != NULL) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		pid = strtol(e->d_name, &end, 10);
		if (*end != '\0' || pid <= 0 || pid > INT_MAX)
			continue;
		/* Gone, or a zombie, which has no namespace any more. */
		if (l0_pid_netns_ino(dirfd(d), (pid_t)pid, &ino) < 0)
			continue;
		r = fn(arg, dirfd(d), (pid_t)pid, ino);
		if (r < 0)
			return r;
	}
	return errno != 0 ? -errno : 0;
}

bool
l0_parse_stat(const char *text, bool *ret_runtime, uint64_t *ret_ticks)
{
	const char *name = strchr(text, '('), *end = strrchr(text, ')');
	unsigned long long ticks;
	int at;

	if (name == NULL || end == NULL || end < name)
		return false;
	*ret_runtime = false;
	for (size_t i = 0; i < ARRAY_SIZE(runtimes); i++)
		*ret_runtime |= strncmp(name + 1, runtimes[i], strlen(runtimes[i])) == 0;
	/* The name ends field 2. */
	for (at = 2; at < STAT_START_FIELD && end != NULL; at++)
		end = strchr(end + 1, ' ');
	if (end == NULL || sscanf(end, " %llu", &ticks) != 1)
		return false;
	*ret_ticks = ticks;
	return true;
}
