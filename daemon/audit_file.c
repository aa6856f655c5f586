/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The segments on the disk. A segment takes records for a month or to its size, then it is made
 * read-only and the next one goes on with its last hash.
 *
 * After a crash the last line may be torn: bytes without a newline at the very end. They are
 * overwritten by the record that tells of them and in no other way. Whatever else is wrong is
 * damage: the segment stays as it is, for verification to find, and a new one is begun.
 */
#include "daemon/audit_internal.h"

#include "rules/timefmt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MAX_SEGMENTS 4096
#define FILE_MAX (AUDIT_SEGMENT_MAX + AUDIT_LINE_MAX)

static unsigned
month_of(uint64_t ns)
{
	time_t s = (time_t)(ns / NSEC_PER_SEC);
	struct tm tm;

	if (gmtime_r(&s, &tm) == NULL)
		return 0;
	return (unsigned)tm.tm_year * 12 + (unsigned)tm.tm_mon;
}

static int
number_cmp(const void *x, const void *y)
{
	const uint64_t *a = x, *b = y;

	return *a < *b ? -1 : *a > *b;
}

/* The segments' first records, ascending, malloc'ed; how many, or a negative errno. */
static int
list_segments(int dir_fd, uint64_t **ret)
{
	_cleanup_free_ uint64_t *list = calloc(MAX_SEGMENTS, sizeof(*list));
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (d == NULL || list == NULL) {
		int r = list == NULL ? -ENOMEM : -errno;

		if (d != NULL)
			closedir(d);
		else
			close_fd(&fd);
		return r;
	}
	while ((e = readdir(d)) != NULL && n < MAX_SEGMENTS)
		if (audit_segment_first(e->d_name) != 0)
			list[n++] = audit_segment_first(e->d_name);
	closedir(d);
	qsort(list, (size_t)n, sizeof(*list), number_cmp);
	*ret = steal_ptr(list);
	return n;
}

static int
read_range(int fd, uint64_t offset, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *buf = malloc(max + 1);
	size_t len = 0;

	if (buf == NULL)
		return -ENOMEM;
	while (len < max) {
		ssize_t n = pread(fd, buf + len, max - len, (off_t)(offset + len));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret = steal_ptr(buf);
	*ret_len = len;
	return 0;
}

static int
open_segment(int dir_fd, uint64_t first, int flags)
{
	char name[AUDIT_SEGMENT_NAME_LEN];
	int fd =
	    openat(dir_fd, audit_segment_name(first, name), flags | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? -errno : fd;
}

static void
note_damage(struct audit_file *f, uint64_t first, const char *why)
{
	char name[AUDIT_SEGMENT_NAME_LEN];

	if (f->damage[0] == '\0')
		snprintf(
		    f->damage, sizeof(f->damage), "%s: %s", audit_segment_name(first, name), why);
}

/* What the daemon wants to know of a record that it finds. */
static void
learn_record(struct audit_file *f, const struct audit_chain *c, const json_t *o)
{
	const json_t *revision = json_object_get(json_object_get(o, "after"), "revision");
	const char *time = audit_text(o, "time", NULL);
	uint64_t ns;

	if (json_is_integer(revision))
		f->revision = (uint64_t)json_integer_value(revision);
	if (c->records == 1 && time != NULL && time_parse(time, &ns) == 0)
		f->month = month_of(ns);
}

/* Reads one segment into *c; sets end and tail. */
static int
load_segment(struct audit_file *f, uint64_t first, int fd, struct audit_chain *c)
{
	_cleanup_free_ char *buf = NULL;
	size_t len, at = 0;
	int r = read_range(fd, 0, FILE_MAX + 1, &buf, &len);

	if (r < 0)
		return r;
	if (len > FILE_MAX)
		note_damage(f, first, "larger than a segment can be");
	while (at < len) {
		const char *end = memchr(buf + at, '\n', len - at);
		json_t *o = NULL;
		struct diag d;

		if (end == NULL)
			break;
		r = audit_chain_line(c, buf + at, (size_t)(end - buf) - at, &d, &o);
		if (r == -ENOMEM)
			return r;
		if (r == 0)
			learn_record(f, c, o);
		else
			note_damage(f, first, d.msg);
		json_decref(o);
		at = (size_t)(end - buf) + 1;
	}
	if (c->records > 0 && c->first != first)
		note_damage(f, first, "begins with another record than its name says");
	f->end = at;
	f->tail = len;
	f->torn = len - at;
	audit_digest(buf + at, len - at, f->torn_hash);
	return 0;
}

/* The newest segment that has a record tells where the chain is; newer ones are empty. */
static int
load_from(struct audit_file *f, const uint64_t *list, int n)
{
	for (int i = n - 1; i >= 0; i--) {
		struct audit_chain c = { .lost = true };
		uint64_t end = f->end, tail = f->tail;
		int r, fd = open_segment(f->dir_fd, list[i], i == n - 1 ? O_RDWR : O_RDONLY);

		if (fd == -EACCES && i == n - 1) /* sealed, and the next one not begun */
			fd = open_segment(f->dir_fd, list[i], O_RDONLY);
		if (fd < 0)
			return fd;
		r = load_segment(f, list[i], fd, &c);
		if (i == n - 1) {
			f->fd = fd;
		} else {
			close(fd);
			f->end = end;
			f->tail = tail;
		}
		if (r < 0)
			return r;
		if (c.records > 0) {
			f->seq = c.seq;
			memcpy(f->hash, c.hash, sizeof(f->hash));
			break;
		}
	}
	if (n > 0 && f->seq < list[n - 1] - 1)
		note_damage(f, list[n - 1], "the records before it are missing");
	return 0;
}

int
audit_file_load(struct audit_file *f)
{
	_cleanup_free_ uint64_t *list = NULL;
	int r, n = list_segments(f->dir_fd, &list);
	bool sealed;

	if (n < 0)
		return n;
	if (n == MAX_SEGMENTS)
		return -ENOSPC;
	*f = (struct audit_file){ .dir_fd = f->dir_fd, .fd = -1, .next_first = 1 };
	memcpy(f->hash, audit_no_hash, sizeof(f->hash));
	r = load_from(f, list, n);
	if (n > 0)
		f->next_first = list[n - 1] + 1;
	/* Nothing is added to what is damaged or sealed. */
	sealed = f->fd >= 0 && (fcntl(f->fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
	if (sealed && f->torn > 0)
		note_damage(f, list[n - 1], "its last line is torn");
	if (r < 0 || sealed || f->damage[0] != '\0') {
		close_fd(&f->fd);
		f->torn = 0;
	}
	return r;
}

static int
begin_segment(struct audit_file *f)
{
	int fd;

	f->seq = MAX(f->seq, f->next_first - 1);
	fd = open_segment(f->dir_fd, f->seq + 1, O_RDWR | O_CREAT | O_EXCL);
	if (fd < 0)
		return fd;
	if (fsync(f->dir_fd) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	if (f->fd >= 0 && fchmod(f->fd, 0400) == 0)
		fsync(f->fd);
	close_fd(&f->fd);
	f->fd = fd;
	f->end = f->tail = 0;
	f->next_first = f->seq + 2;
	return 0;
}

static int
write_line(struct audit_file *f, const char *line, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(f->fd, line + done, len - done, (off_t)(f->end + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENOSPC;
		done += (size_t)n;
	}
	if (f->tail > f->end + len && ftruncate(f->fd, (off_t)(f->end + len)) < 0)
		return -errno;
	return fdatasync(f->fd) < 0 ? -errno : 0;
}

int
audit_file_append(struct audit_file *f, json_t *record, uint64_t now_ns)
{
	_cleanup_free_ char *line = NULL;
	char hash[AUDIT_HASH_STRLEN];
	size_t len;
	int r = 0;

	if (f->fd < 0 || (f->torn == 0 && f->end > 0 &&
			     (f->end > AUDIT_SEGMENT_MAX || f->month != month_of(now_ns))))
		r = begin_segment(f);
	if (r == 0)
		r = audit_seal(record, f->seq + 1, f->hash, &line, &len, hash);
	if (r == 0)
		r = write_line(f, line, len);
	if (r < 0) {
		/* A part of the line may be there; what was torn before stays to be told of. */
		if (f->fd >= 0 && f->tail <= f->end && ftruncate(f->fd, (off_t)f->end) == 0)
			fdatasync(f->fd);
		return r;
	}
	if (f->end == 0)
		f->month = month_of(now_ns);
	f->end = f->tail = f->end + len;
	f->seq++;
	memcpy(f->hash, hash, sizeof(f->hash));
	return 0;
}

void
audit_file_done(struct audit_file *f)
{
	close_fd(&f->fd);
	close_fd(&f->dir_fd);
}

/* When the segment's first record was written; 0: that cannot be told. */
static uint64_t
first_time(int dir_fd, uint64_t first)
{
	struct audit_chain c = { .lost = true };
	_cleanup_close_ int fd = open_segment(dir_fd, first, O_RDONLY);
	_cleanup_free_ char *buf = NULL;
	json_t *o = NULL;
	const char *end;
	struct diag d;
	uint64_t ns = 0;
	size_t len;

	if (fd < 0 || read_range(fd, 0, FILE_MAX, &buf, &len) < 0)
		return 0;
	end = memchr(buf, '\n', len);
	if (end != NULL && audit_chain_line(&c, buf, (size_t)(end - buf), &d, &o) == 0 &&
	    (audit_text(o, "time", NULL) == NULL ||
		time_parse(audit_text(o, "time", NULL), &ns) < 0))
		ns = 0;
	json_decref(o);
	return ns;
}

uint64_t
audit_file_find_expired(const struct audit_file *f, uint64_t before_ns)
{
	_cleanup_free_ uint64_t *list = NULL;
	int n = list_segments(f->dir_fd, &list);
	uint64_t ns;

	if (n < 2)
		return 0;
	ns = first_time(f->dir_fd, list[1]);
	return ns != 0 && ns < before_ns ? list[1] : 0;
}

void
audit_file_expire(struct audit_file *f, uint64_t first_kept)
{
	_cleanup_free_ uint64_t *list = NULL;
	int n = list_segments(f->dir_fd, &list);
	char name[AUDIT_SEGMENT_NAME_LEN];

	/* The oldest first: after a crash in between the rest is still one piece. */
	for (int i = 0; i < n && list[i] < first_kept; i++)
		if (unlinkat(f->dir_fd, audit_segment_name(list[i], name), 0) < 0)
			return;
	fsync(f->dir_fd);
}

int
audit_read_segment(
    int dir_fd, const char *name, uint64_t offset, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = -1;
	uint64_t first = audit_segment_first(name);

	if (first == 0)
		return -EINVAL;
	fd = open_segment(dir_fd, first, O_RDONLY);
	if (fd < 0)
		return fd;
	return read_range(fd, offset, max, ret, ret_len);
}

json_t *
audit_list_segments(int dir_fd)
{
	_cleanup_free_ uint64_t *list = NULL;
	int n = list_segments(dir_fd, &list);
	json_t *ret = json_array();

	for (int i = 0; i < n; i++) {
		char name[AUDIT_SEGMENT_NAME_LEN];
		struct stat st;

		if (fstatat(dir_fd, audit_segment_name(list[i], name), &st, AT_SYMLINK_NOFOLLOW) ==
		    0)
			json_array_append_new(ret,
			    json_pack("{s:s, s:I}", "name", name, "size", (json_int_t)st.st_size));
	}
	return ret;
}
