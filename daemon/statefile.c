/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/statefile.h"

#include "rules/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int
open_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int
write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

static int
replace(const char *dir, const char *name, const char *text, size_t len, bool durable)
{
	_cleanup_close_ int dir_fd = open_dir(dir), fd = -1;
	char fresh[64];
	int r;

	if (dir_fd < 0)
		return dir_fd;
	snprintf(fresh, sizeof(fresh), "%s.new", name);
	fd = openat(dir_fd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text, len);
	if (r == 0 && durable && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dir_fd, fresh, dir_fd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dir_fd, fresh, 0);
		return r;
	}
	return durable && fsync(dir_fd) < 0 ? -errno : 0;
}

int
statefile_write_text(const char *dir, const char *name, const char *text, size_t len)
{
	return replace(dir, name, text, len, true);
}

int
statefile_keep_text(const char *dir, const char *name, const char *text, size_t len)
{
	return replace(dir, name, text, len, false);
}

int
statefile_write(const char *dir, const char *name, json_t *o)
{
	_cleanup_free_ char *text =
	    o != NULL ? json_dumps(o, JSON_INDENT(1) | JSON_ENSURE_ASCII) : NULL;

	json_decref(o);
	return text != NULL ? statefile_write_text(dir, name, text, strlen(text)) : -ENOMEM;
}

int
statefile_remove(const char *dir, const char *name)
{
	_cleanup_close_ int dir_fd = open_dir(dir);

	if (dir_fd < 0)
		return dir_fd;
	if (unlinkat(dir_fd, name, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	return fsync(dir_fd) < 0 ? -errno : 0;
}

int
statefile_read(const char *dir, const char *name, size_t max, json_t **ret)
{
	_cleanup_close_ int dir_fd = open_dir(dir), fd = -1;
	_cleanup_free_ char *text = malloc(max + 1);
	size_t len = 0;
	json_t *o;

	if (text == NULL)
		return -ENOMEM;
	if (dir_fd < 0)
		return dir_fd;
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	while (len <= max) {
		ssize_t n = read(fd, text + len, max + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	o = len <= max ? json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (!json_is_object(o)) {
		json_decref(o);
		return -EBADMSG;
	}
	*ret = o;
	return 0;
}
