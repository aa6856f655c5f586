/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that the user names. */
#include "cli/file.h"

#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* At most a byte more than is allowed, so that the parser says what is wrong. */
static int
read_all(int fd, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0, room = 0;

	for (;;) {
		ssize_t n;

		if (len == room) {
			size_t more = MIN(MAX(room * 2, (size_t)65536), max + 1);
			char *grown;

			if (more == room)
				break;
			grown = realloc(text, more);
			if (grown == NULL)
				return -ENOMEM;
			text = grown;
			room = more;
		}
		n = read(fd, text + len, room - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret = steal_ptr(text);
	*ret_len = len;
	return 0;
}

int
file_read(const char *path, char **ret, size_t *ret_len)
{
	return file_read_max(path, DOC_MAX_BYTES, ret, ret_len);
}

int
file_read_max(const char *path, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (strcmp(path, "-") == 0) {
		r = read_all(STDIN_FILENO, max, ret, ret_len);
	} else {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		r = fd >= 0 ? read_all(fd, max, ret, ret_len) : -errno;
	}
	if (r == 0)
		return CLI_OK;
	if (r == -ENOMEM)
		return cli_no_memory();
	cli_error("%s: %s", path, strerror(-r));
	return CLI_USAGE;
}

static int
write_all(int fd, const char *text, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int
replace(const char *path, const char *text, size_t len)
{
	_cleanup_free_ char *temporary = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	if (asprintf(&temporary, "%s.%ld.tmp", path, (long)getpid()) < 0)
		return -ENOMEM;
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text, len);
	if (r == 0 && (fsync(fd) < 0 || rename(temporary, path) < 0))
		r = -errno;
	if (r < 0)
		unlink(temporary);
	return r;
}

static int
write_in_place(const char *path, const char *text, size_t len)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

	return fd >= 0 ? write_all(fd, text, len) : -errno;
}

int
file_write(const char *path, const char *text, size_t len)
{
	bool there, in_place;
	struct stat st;
	int r;

	there = stat(path, &st) == 0;
	in_place = there && (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode) ||
				(S_ISREG(st.st_mode) && strncmp(path, "/dev/", 5) == 0));
	if (there && !in_place && !S_ISREG(st.st_mode)) {
		cli_error("%s: neither a file nor a pipe", path);
		return CLI_ERROR;
	}
	r = in_place ? write_in_place(path, text, len) : replace(path, text, len);
	if (r == 0)
		return CLI_OK;
	if (r == -ENOMEM)
		return cli_no_memory();
	cli_error("%s: %s", path, strerror(-r));
	return CLI_ERROR;
}

void
file_report(const char *path, const struct diag *d)
{
	_cleanup_free_ char *file = text_safe_sentence(strcmp(path, "-") == 0 ? "stdin" : path);
	_cleanup_free_ char *message = text_safe_sentence(d->msg);

	if (file == NULL || message == NULL)
		return;
	if (d->line != 0)
		fprintf(stderr, "%s:%u:%u: %s\n", file, d->line, d->col, message);
	else
		fprintf(stderr, "%s: %s\n", file, message);
}
