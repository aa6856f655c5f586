/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/audit_source.h"

#include "cli/client.h"
#include "cli/page.h"
#include "cli/show.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SEGMENT_MAX (AUDIT_SEGMENT_MAX + AUDIT_LINE_MAX)

static int
name_cmp(const void *x, const void *y)
{
	return strcmp(
	    show_text(*(json_t *const *)x, "name", ""), show_text(*(json_t *const *)y, "name", ""));
}

static int
list_dir(const char *dir, json_t **ret)
{
	DIR *d = opendir(dir);
	json_t *list = json_array();
	struct dirent *e;
	struct stat st;

	if (d == NULL) {
		cli_error("%s: %s", dir, strerror(errno));
		json_decref(list);
		return CLI_ERROR;
	}
	while ((e = readdir(d)) != NULL)
		if (audit_segment_first(e->d_name) != 0 &&
		    fstatat(dirfd(d), e->d_name, &st, 0) == 0)
			json_array_append_new(list, json_pack("{s:s, s:I}", "name", e->d_name,
							"size", (json_int_t)st.st_size));
	closedir(d);
	*ret = json_pack("{s:n, s:o}", "head", "segments", show_sorted(list, name_cmp));
	json_decref(list);
	if (*ret == NULL) {
		cli_error("%s: %s", dir, strerror(ENOMEM));
		return CLI_ERROR;
	}
	return CLI_OK;
}

int
audit_source_open(const struct cli *cli, const char *dir, struct audit_source *ret)
{
	*ret = (struct audit_source){ .cli = cli, .dir = dir };
	return dir != NULL ? list_dir(dir, &ret->list) : client_get(cli, "/v1/audit", &ret->list);
}

void
audit_source_close(struct audit_source *s)
{
	json_decref(s->list);
}

static int
read_file(const char *dir, const char *name, char **ret, size_t *ret_len)
{
	_cleanup_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ char *text = malloc(SEGMENT_MAX + 1);
	size_t len = 0;
	ssize_t n = 0;

	if (text == NULL)
		return cli_no_memory();
	while (fd >= 0 && len < SEGMENT_MAX && (n = read(fd, text + len, SEGMENT_MAX - len)) > 0)
		len += (size_t)n;
	if (fd < 0 || n < 0) {
		cli_error("%s/%s: %s", dir, name, strerror(errno));
		return CLI_ERROR;
	}
	*ret = steal_ptr(text);
	*ret_len = len;
	return CLI_OK;
}

/* What the daemon had when it said how much there is: it goes on writing. */
static int
read_daemon(const struct cli *cli, const char *name, size_t size, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *text = malloc(size + 1);
	size_t len = 0;

	while (text != NULL && len < size) {
		_cleanup_free_ char *path = NULL, *part = NULL;
		char offset[24];
		size_t n;
		int r;

		snprintf(offset, sizeof(offset), "%zu", len);
		path =
		    client_path("/v1/audit/segment", "name", name, "offset", offset, (char *)NULL);
		if (path == NULL)
			return cli_no_memory();
		r = client_get_bytes(cli, path, &part, &n);
		if (r != CLI_OK)
			return r;
		if (n == 0)
			break;
		n = MIN(n, size - len);
		memcpy(text + len, part, n);
		len += n;
	}
	if (text == NULL)
		return cli_no_memory();
	*ret = steal_ptr(text);
	*ret_len = len;
	return CLI_OK;
}

static int
walk_segment(struct audit_chain *chain, const char *name, const char *text, size_t len,
    audit_line_fn fn, void *arg)
{
	size_t at = 0, line = 0;

	while (at < len) {
		const char *end = memchr(text + at, '\n', len - at);
		json_t *record = NULL;
		struct diag d = { 0 };
		int r = -EBADMSG;

		line++;
		if (end != NULL)
			r = audit_chain_line(
			    chain, text + at, (size_t)(end - text) - at, &d, &record);
		else
			diag_set(&d, 0, 0, "the last line is torn");
		if (r == -ENOMEM)
			return cli_no_memory();
		r = fn(arg, name, line, record, chain->hash, d.msg);
		json_decref(record);
		if (r < 0)
			return CLI_ERROR;
		at = end != NULL ? (size_t)(end - text) + 1 : len;
	}
	return CLI_OK;
}

int
audit_source_walk(
    const struct audit_source *s, struct audit_chain *chain, audit_line_fn fn, void *arg)
{
	const json_t *list = json_object_get(s->list, "segments");
	size_t n = json_array_size(list);

	for (size_t i = 0; i < n; i++) {
		const json_t *o = json_array_get(list, i);
		const char *name = show_text(o, "name", "");
		int64_t size = show_int(o, "size", 0);
		_cleanup_free_ char *text = NULL;
		size_t len = 0;
		int r;

		if (size < 0 || size > SEGMENT_MAX) {
			cli_error("%s: larger than a segment can be", name);
			return CLI_DIFFERENCES;
		}
		r = s->dir != NULL ? read_file(s->dir, name, &text, &len)
				   : read_daemon(s->cli, name, (size_t)size, &text, &len);
		if (r == CLI_OK)
			r = walk_segment(chain, name, text, len, fn, arg);
		progress_show("audit log", i + 1, r == CLI_OK && i + 1 < n ? n : 0);
		if (r != CLI_OK)
			return r;
	}
	return CLI_OK;
}
