/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /proc tells about a single process besides its namespace and its cgroup. */
#include "daemon/l0.h"
#include "daemon/proto.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_GENERATIONS 32 /* whoever has more of them is no runtime */
#define MAX_ANCESTORS 256  /* up to a container's first process */
#define CAP_BIT_NET_ADMIN 12
#define CAP_BIT_NET_RAW 13

/* At most size bytes of the file; how many, or a negative errno. */
static ssize_t
read_at(int dirfd, const char *name, char *buf, size_t size)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while (have < size && (n = read(fd, buf + have, size - have)) != 0) {
		if (n < 0)
			return -errno;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

/* The value of a line "key\tvalue"; in base. */
static bool
status_number(const char *text, size_t len, const char *key, int base, uint64_t *ret)
{
	const char *p = text, *end = text + len;
	size_t key_len = strlen(key), n;
	char number[24] = "", *stop;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		const char *line_end = nl != NULL ? nl : end;

		n = (size_t)(line_end - p);
		if (n > key_len && n - key_len < sizeof(number) && memcmp(p, key, key_len) == 0) {
			memcpy(number, p + key_len, n - key_len);
			errno = 0;
			*ret = strtoull(number, &stop, base);
			return errno == 0 && stop != number && *stop == '\0';
		}
		p = line_end + 1;
	}
	return false;
}

/* -ENXIO: there is none that is visible from here; or another negative errno. */
static pid_t
parent_of(int taskfd)
{
	char text[8192];
	ssize_t n = read_at(taskfd, "status", text, sizeof(text));
	uint64_t ppid;

	if (n < 0)
		return (pid_t)n;
	if (!status_number(text, (size_t)n, "PPid:\t", 10, &ppid) || ppid > INT_MAX)
		return -EBADMSG;
	return ppid != 0 ? (pid_t)ppid : -ENXIO;
}

static int
open_parent(int procfd, int taskfd)
{
	pid_t pid = parent_of(taskfd);

	return pid < 0 ? pid : l0_open_task(procfd, pid);
}

/*
 * 1, 0, or a negative errno: the process has ended. Whom not even we may look at is no engine: the
 * first process of a machine that keeps some of root's capabilities for itself.
 */
static int
is_in(int taskfd, uint64_t ino)
{
	uint64_t theirs;
	int r = l0_task_netns_ino(taskfd, &theirs);

	if (r == -EACCES || r == -EPERM)
		return 0;
	return r < 0 ? r : theirs == ino;
}

int
l0_task_inherits(int procfd, int taskfd, uint64_t place, uint64_t ino)
{
	_cleanup_close_ int at = open_parent(procfd, taskfd);

	for (unsigned i = 0; i < MAX_GENERATIONS && at >= 0; i++) {
		struct l0_claim c = { .place = 0 };
		int next, r = l0_task_claim(at, &c);

		if (r < 0 && r != -ENOENT)
			return r;
		if (r < 0 || c.place != place)
			return is_in(at, ino);
		next = open_parent(procfd, at);
		close_fd(&at);
		at = next;
	}
	return at >= 0 || at == -ENXIO ? 0 : at;
}

bool
l0_status_caps(const char *text, size_t len, uint64_t *ret)
{
	return status_number(text, len, "CapBnd:\t", 16, ret);
}

bool
l0_task_is_runtime(int taskfd)
{
	char text[1024];
	ssize_t n = read_at(taskfd, "stat", text, sizeof(text) - 1);
	bool runtime = false;
	uint64_t ticks;

	if (n <= 0)
		return false;
	text[n] = '\0';
	return l0_parse_stat(text, &runtime, &ticks) && runtime;
}

static bool
shares_with_us(int taskfd, const char *name)
{
	char path[32], theirs[64] = "", ours[64] = "";

	snprintf(path, sizeof(path), "/proc/self/%s", name);
	return readlinkat(taskfd, name, theirs, sizeof(theirs) - 1) > 0 &&
	       readlink(path, ours, sizeof(ours) - 1) > 0 && strcmp(theirs, ours) == 0;
}

int
l0_task_facts(int taskfd, uint8_t *ret)
{
	char text[8192];
	ssize_t n = read_at(taskfd, "status", text, sizeof(text));
	uint64_t caps;
	uint8_t facts = 0;

	if (n < 0)
		return (int)n;
	if (!l0_status_caps(text, (size_t)n, &caps))
		return -EBADMSG;
	if ((caps & 1u << CAP_BIT_NET_ADMIN) != 0)
		facts |= TASK_F_NET_ADMIN;
	if ((caps & 1u << CAP_BIT_NET_RAW) != 0)
		facts |= TASK_F_NET_RAW;
	if (shares_with_us(taskfd, "ns/pid"))
		facts |= TASK_F_HOST_PID;
	if (!shares_with_us(taskfd, "ns/user"))
		facts |= TASK_F_USERNS;
	*ret = facts;
	return 0;
}

/* Is it a name as engines accept them? */
static bool
is_name(const char *s, size_t len)
{
	static const char accept[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789._-";

	for (size_t i = 0; i < len; i++)
		if (s[i] == '\0' || strchr(accept, s[i]) == NULL)
			return false;
	return len > 0 && isalnum((unsigned char)s[0]);
}

/* Of arguments, each with its null byte: the first one after that; NULL: none. */
static const char *
argument_after(const char *args, size_t len, const char *flag)
{
	const char *p = args, *end = args + len;
	const char *last = "";

	while (p < end) {
		const char *stop = memchr(p, '\0', (size_t)(end - p));

		if (stop == NULL)
			return NULL;
		if (strcmp(last, flag) == 0)
			return p;
		last = p;
		p = stop + 1;
	}
	return NULL;
}

bool
l0_conmon_name(const char *args, size_t len, char ret[static L0_NAME_LEN + 1])
{
	const char *name = argument_after(args, len, "-n");

	if (name == NULL || strlen(name) > L0_NAME_LEN || !is_name(name, strlen(name)))
		return false;
	memcpy(ret, name, strlen(name) + 1);
	return true;
}

bool
l0_shim_name(const char *args, size_t len, char ret[static L0_NAME_LEN + 1])
{
	const char *id = argument_after(args, len, "-id");
	const char *namespace = argument_after(args, len, "-namespace");
	uint64_t h = 0;
	int n;

	if (id == NULL || namespace == NULL || !is_name(id, strlen(id)) ||
	    !is_name(namespace, strlen(namespace)))
		return false;
	n = snprintf(ret, L0_NAME_LEN + 1, "%s@%s", id, namespace);
	if (n <= L0_NAME_LEN)
		return true;
	for (const char *p = id; *p != '\0'; p++)
		h = hash_mix64(h ^ (uint8_t)*p);
	for (const char *p = namespace; *p != '\0'; p++)
		h = hash_mix64(h ^ (uint8_t)*p << 8);
	snprintf(ret, L0_NAME_LEN + 1, "%.12s~%016" PRIx64 "@%.32s", id, h, namespace);
	return true;
}

bool
l0_cgroup_name(const char *text, size_t len, char ret[static L0_NAME_LEN + 1])
{
	const char *p = text, *end = text + len;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		const char *stop = nl != NULL ? nl : end;
		const char *slash = memrchr(p, '/', (size_t)(stop - p));
		size_t n = slash != NULL ? (size_t)(stop - slash) - 1 : 0;

		if (n > 0) {
			if (n > L0_NAME_LEN || !is_name(slash + 1, n))
				return false;
			memcpy(ret, slash + 1, n);
			ret[n] = '\0';
			return true;
		}
		p = stop + 1;
	}
	return false;
}

int
l0_task_podman_name(int procfd, int taskfd, char ret[static L0_NAME_LEN + 1])
{
	_cleanup_close_ int parent = open_parent(procfd, taskfd);
	char text[8192];
	ssize_t n;

	if (parent < 0)
		return parent;
	n = read_at(parent, "comm", text, sizeof(text));
	if (n < 0 || n != 7 || memcmp(text, "conmon\n", 7) != 0)
		return n < 0 ? (int)n : -ENOENT;
	n = read_at(parent, "cmdline", text, sizeof(text));
	if (n < 0)
		return (int)n;
	return l0_conmon_name(text, (size_t)n, ret) ? 0 : -ENOENT;
}

/* Of the host: what runs in a container may name itself and its cgroups as it likes. */
static bool
is_hosts(int taskfd)
{
	return shares_with_us(taskfd, "ns/pid") && shares_with_us(taskfd, "ns/mnt") &&
	       shares_with_us(taskfd, "ns/user");
}

static bool
has_own_cgroup(int taskfd, int parent, char ret[static L0_NAME_LEN + 1])
{
	char own[8192], theirs[8192];
	ssize_t n = read_at(taskfd, "cgroup", own, sizeof(own));
	ssize_t m = read_at(parent, "cgroup", theirs, sizeof(theirs));

	return n > 0 && m > 0 && (n != m || memcmp(own, theirs, (size_t)n) != 0) &&
	       l0_cgroup_name(own, (size_t)n, ret);
}

static bool
is_shim(int taskfd)
{
	char text[32];

	return read_at(taskfd, "comm", text, sizeof(text)) == 16 &&
	       memcmp(text, "containerd-shim\n", 16) == 0;
}

/*
 * The name of the container that the process is the first one of. As long as it is its runtime's,
 * the parent is what makes the container, and the shim whoever called that.
 */
static int
first_name(int procfd, int taskfd, int parent, bool is_set_up, char ret[static L0_NAME_LEN + 1])
{
	_cleanup_close_ int above = -1;
	int shim = parent;
	char text[8192];
	ssize_t n;

	if (l0_task_is_runtime(taskfd)) {
		if (!is_set_up)
			return -ENOENT;
		shim = above = open_parent(procfd, parent);
		if (above < 0)
			return above;
	}
	if (!is_shim(shim))
		return has_own_cgroup(taskfd, parent, ret) ? 0 : -ENOENT;
	n = read_at(shim, "cmdline", text, sizeof(text));
	return n > 0 && l0_shim_name(text, (size_t)n, ret) ? 0 : -ENOENT;
}

int
l0_task_stray_claim(int procfd, int taskfd, bool is_set_up, struct l0_claim *ret)
{
	_cleanup_close_ int own = -1, parent = -1;
	struct l0_claim c = { .place = 0 };
	int at = taskfd;

	for (unsigned i = 0; i < MAX_ANCESTORS && !shares_with_us(at, "ns/pid"); i++) {
		pid_t pid = parent_of(at);
		int r;

		parent = pid < 0 ? pid : l0_open_task(procfd, pid);
		if (parent < 0)
			return parent;
		if (pid == 1 || is_hosts(parent)) {
			r = first_name(procfd, at, parent, is_set_up, c.machine);
			if (r == 0)
				*ret = c;
			return r;
		}
		close_fd(&own);
		at = own = steal_fd(&parent);
	}
	return -ENOENT;
}
