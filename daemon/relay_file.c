/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "daemon/relay_file.h"

#include "rules/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_MAX 64
#define NAMESPACE_MAX 76
#define NAMESPACES_MAX 64 /* looked in for one file */

/*
 * Everything that is ever opened: before, the checked id, after. Where the same question has more
 * than one place they are asked one after the other, and the first that has the file answers.
 */
static const struct relay_file {
	uint32_t request, engine;
	enum id_kind id;
	off_t max;
	const char *before, *after; /* without a slash first: in Docker's data */
	bool other;		    /* in any folder below that is not a row's of its own */
} files[] = {
#define TASKS "io.containerd.runtime.v2.task"
#define K3S "/run/k3s/containerd/" /* and RKE2 */
#define MICROK8S "/var/snap/microk8s/common/run/containerd/"
#define STORAGE(driver) "containers/storage/" driver "-containers/"
#define BUNDLE(place) RELAY_BUNDLE, RELAY_PLACE_##place, ID_CONTAINER, 1 << 20
	{ BUNDLE(DOCKER), "/run/docker/containerd/daemon/" TASKS "/moby/", "/config.json" },
	{ BUNDLE(MOBY), "/run/containerd/" TASKS "/moby/", "/config.json" },
	{ BUNDLE(CRI), "/run/containerd/" TASKS "/k8s.io/", "/config.json" },
	{ BUNDLE(CRI), K3S TASKS "/k8s.io/", "/config.json" },
	{ BUNDLE(CRI), MICROK8S TASKS "/k8s.io/", "/config.json" },
	{ BUNDLE(CONTAINERD), "/run/containerd/" TASKS "/default/", "/config.json" },
	{ BUNDLE(CONTAINERD), "/run/containerd/" TASKS "/", "/config.json", true },
#define CRIO(driver) BUNDLE(CRIO), "/run/" STORAGE(driver), "/userdata/config.json"
	{ CRIO("overlay") },
	{ CRIO("vfs") },
	{ CRIO("btrfs") },
	{ CRIO("zfs") },
#define PODMAN(driver) BUNDLE(PODMAN), "/var/lib/" STORAGE(driver), "/userdata/config.json"
	{ PODMAN("overlay") },
	{ PODMAN("vfs") },
	{ PODMAN("btrfs") },
	{ PODMAN("zfs") },
#define NAMES(driver) \
	RELAY_NAMES, 0, ID_NONE, 4 << 20, "/var/lib/" STORAGE(driver) "containers.json", ""
	{ NAMES("overlay") },
	{ NAMES("vfs") },
	{ NAMES("btrfs") },
	{ NAMES("zfs") },
	{ RELAY_DOCKER_CONFIG, 0, ID_CONTAINER, 1 << 20, "containers/", "/config.v2.json" },
	{ RELAY_DOCKER_HOST, 0, ID_CONTAINER, 1 << 20, "containers/", "/hostconfig.json" },
#define IMAGE(driver, name)                                               \
	RELAY_DOCKER_IMAGE, RELAY_DRIVER_##driver, ID_CONTAINER, 1 << 20, \
	    "image/" name "/imagedb/content/sha256/", ""
	{ IMAGE(OVERLAY2, "overlay2") },
	{ IMAGE(FUSE_OVERLAYFS, "fuse-overlayfs") },
	{ IMAGE(BTRFS, "btrfs") },
	{ IMAGE(ZFS, "zfs") },
	{ IMAGE(VFS, "vfs") },
};

static const char *docker_root = "/var/lib/docker";

void
relay_file_set_docker_root(const char *path)
{
	docker_root = path;
}

bool
relay_id_is(const char id[static 80], enum id_kind kind)
{
	size_t len = strnlen(id, 80), prefix = kind == ID_IMAGE ? 7 : 0;

	if (len == 80)
		return false;
	for (size_t i = len; i < 80; i++)
		if (id[i] != '\0')
			return false;
	if (kind == ID_NONE)
		return len == 0;
	if (kind == ID_IMAGE && strncmp(id, "sha256:", 7) != 0)
		return false;
	return len == prefix + 64 && strspn(id + prefix, "0123456789abcdef") == 64;
}

const struct relay_file *
relay_file_find(const struct r_get *get)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (files[i].request == get->request && files[i].engine == get->engine &&
		    relay_id_is(get->id, files[i].id))
			return &files[i];
	return NULL;
}

const char *
relay_file_name(const struct relay_file *f)
{
	return f->before;
}

static int
path_open(const char *path, off_t max, size_t *ret_size)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return errno == ENOTDIR ? -ENOENT : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	if (st.st_size > max)
		return -EMSGSIZE;
	*ret_size = (size_t)st.st_size;
	return steal_fd(&fd);
}

/* As containerd accepts them. */
static bool
is_namespace(const char *name)
{
	static const char letters[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	size_t n = 0, part;

	for (;;) {
		part = strspn(name + n, letters);
		n += part;
		if (part == 0 || n > NAMESPACE_MAX)
			return false;
		if (name[n] == '\0')
			return true;
		if (strchr("-_.", name[n++]) == NULL)
			return false;
	}
}

/* Has the folder of that name a row of its own? */
static bool
has_row(const struct relay_file *f, const char *name)
{
	size_t before = strlen(f->before), n = strlen(name);

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (strncmp(files[i].before, f->before, before) == 0 &&
		    strncmp(files[i].before + before, name, n) == 0 &&
		    strcmp(files[i].before + before + n, "/") == 0)
			return true;
	return false;
}

static void
close_dir(DIR **d)
{
	if (*d != NULL)
		closedir(*d);
}

static int
other_open(const struct relay_file *f, const char *id, size_t *ret_size)
{
	_cleanup_(close_dir) DIR *d = opendir(f->before);
	const struct dirent *e;
	char path[PATH_MAX];
	unsigned seen = 0;
	int n, fd = -ENOENT;

	while (d != NULL && fd == -ENOENT && seen < NAMESPACES_MAX && (e = readdir(d)) != NULL) {
		if (!is_namespace(e->d_name) || has_row(f, e->d_name))
			continue;
		seen++;
		n = snprintf(path, sizeof(path), "%s%s/%s%s", f->before, e->d_name, id, f->after);
		if (n > 0 && (size_t)n < sizeof(path))
			fd = path_open(path, f->max, ret_size);
	}
	return fd;
}

static int
row_open(const struct relay_file *f, const char *id, size_t *ret_size)
{
	bool data = f->before[0] != '/';
	char path[PATH_MAX];
	int n;

	if (f->other)
		return other_open(f, id, ret_size);
	n = snprintf(path, sizeof(path), "%s%s%s%s%s", data ? docker_root : "", data ? "/" : "",
	    f->before, id, f->after);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -EINVAL;
	return path_open(path, f->max, ret_size);
}

static int
file_open(const struct relay_file *f, const char *id, size_t *ret_size)
{
	const struct relay_file *row = f, *end = files + ARRAY_SIZE(files);
	int fd = -ENOENT;

	for (; fd == -ENOENT && row < end; row++)
		if (row->request == f->request && row->engine == f->engine && row->id == f->id)
			fd = row_open(row, id, ret_size);
	return fd;
}

int
relay_file_read(const struct relay_file *f, const char *id, char **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	size_t size = 0, have, end;
	ssize_t n;

	fd = file_open(f, id, &size);
	if (fd < 0)
		return steal_fd(&fd);
	text = malloc(HEAD_MAX + size);
	if (text == NULL)
		return -ENOMEM;
	have = (size_t)snprintf(
	    text, HEAD_MAX, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
	end = have + size;
	while (have < end) {
		n = read(fd, text + have, end - have);
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	*ret = steal_ptr(text);
	*ret_len = have;
	return 0;
}
