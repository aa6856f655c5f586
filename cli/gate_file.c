/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/gate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int
gate_file_read(const char *path, char **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t len = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size > (off_t)GATE_MAX_FILE)
		return -EFBIG;
	text = malloc((size_t)st.st_size + 1);
	if (text == NULL)
		return -ENOMEM;
	while (len < (size_t)st.st_size) {
		ssize_t n = read(fd, text + len, (size_t)st.st_size - len);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	*ret = steal_ptr(text);
	*ret_len = len;
	return 0;
}

static int
sync_folder(const char *path)
{
	_cleanup_close_ int fd = -1;
	char folder[PATH_MAX], *slash;

	snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (slash == NULL)
		return 0;
	slash[slash == folder] = '\0';
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int
write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Folders above the path, as far as they are missing. */
static int
make_parents(const char *path)
{
	char part[PATH_MAX];

	if ((size_t)snprintf(part, sizeof(part), "%s", path) >= sizeof(part))
		return -ENAMETOOLONG;
	for (char *p = part + 1; *p != '\0'; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return 0;
}

int
gate_file_write(const char *path, const char *text, size_t len, mode_t mode)
{
	_cleanup_close_ int fd = -1;
	struct stat st = { .st_mode = mode };
	char tmp[PATH_MAX];
	bool there;
	int r;

	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.nanoseg-new", path) >= sizeof(tmp))
		return -ENAMETOOLONG;
	r = make_parents(path);
	if (r < 0)
		return r;
	there = lstat(path, &st) == 0;
	if (there && !S_ISREG(st.st_mode))
		return -EINVAL; /* a link or worse: whoever made it is to replace it */
	unlink(tmp);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text, len);
	if (r == 0 && (fchmod(fd, st.st_mode & 07777) < 0 ||
			  (there && fchown(fd, st.st_uid, st.st_gid) < 0) || fsync(fd) < 0 ||
			  rename(tmp, path) < 0))
		r = -errno;
	if (r < 0) {
		unlink(tmp);
		return r;
	}
	return sync_folder(path);
}

int
gate_file_remove(const char *path)
{
	if (unlink(path) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	return sync_folder(path);
}

static int
copy_program(const struct gate_opts *o, const char *name)
{
	char from[PATH_MAX], to[PATH_MAX];
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	snprintf(from, sizeof(from), "%s/%s", o->programs, name);
	snprintf(to, sizeof(to), "%s/%s", o->dir, name);
	r = gate_file_read(from, &text, &len);
	if (r < 0) {
		cli_error("%s: %s", from, strerror(-r));
		return CLI_ERROR;
	}
	r = gate_file_write(to, text, len, 0755);
	if (r < 0) {
		cli_error("%s: %s", to, strerror(-r));
		return r == -EACCES || r == -EPERM ? CLI_NOT_PERMITTED : CLI_ERROR;
	}
	return CLI_OK;
}

int
gate_programs_copy(const struct gate_opts *o)
{
	int code = copy_program(o, GATE_HOOK);

	return code == CLI_OK ? copy_program(o, GATE_WRAPPER) : code;
}

static const char *const copies[] = { GATE_HOOK, GATE_WRAPPER, "gate.conf" };

void
gate_programs_remove(const struct gate_opts *o)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(copies); i++) {
		snprintf(path, sizeof(path), "%s/%s", o->dir, copies[i]);
		gate_file_remove(path);
	}
	rmdir(o->dir);
}

bool
gate_programs_there(const struct gate_opts *o)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", o->dir, copies[i]);
		if (access(path, X_OK) < 0)
			return false;
	}
	return true;
}

bool
gate_find_program(const char *name, char *ret, size_t size)
{
	static const char *const folders[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
		"/usr/bin", "/sbin", "/bin" };

	if (name[0] == '/') {
		snprintf(ret, size, "%s", name);
		return access(ret, X_OK) == 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		snprintf(ret, size, "%s/%s", folders[i], name);
		if (access(ret, X_OK) == 0)
			return true;
	}
	return false;
}

json_t *
gate_hook_entry(const struct gate_opts *o)
{
	char path[PATH_MAX];
	json_t *args;

	snprintf(path, sizeof(path), "%s/%s", o->dir, GATE_HOOK);
	args =
	    json_pack("[s, s, s, s, s]", GATE_HOOK, "--marker", o->marker, "--socket", o->socket);
	if (o->timeout != NULL) {
		json_array_append_new(args, json_string("--timeout"));
		json_array_append_new(args, json_string(o->timeout));
	}
	if (o->fail_open)
		json_array_append_new(args, json_string("--fail-open"));
	return json_pack("{s:s, s:o}", "path", path, "args", args);
}
