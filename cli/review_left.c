/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a user has left for later: ids of edges, one a line, in a file of $XDG_STATE_HOME/nanoseg
 * (~/.local/state/nanoseg) whose name is made from the daemon's socket. Added to as answers are
 * given, so that nothing is lost by Ctrl-C.
 */
#include "cli/review.h"
#include "cli/show.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_BYTES (8u << 20)

struct review_left {
	char *path; /* NULL: nothing can be kept */
	char (*ids)[EDGE_ID_STRLEN];
	size_t n, room;
};

static int
id_compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int
remember(struct review_left *l, const char *id)
{
	if (l->n == l->room) {
		size_t room = l->room * 2 + 64;
		void *grown = reallocarray(l->ids, room, sizeof(*l->ids));

		if (grown == NULL)
			return -ENOMEM;
		l->ids = grown;
		l->room = room;
	}
	snprintf(l->ids[l->n++], sizeof(*l->ids), "%s", id);
	return 0;
}

/* Makes the folders of path; 0 or -errno. */
static int
make_folders(const char *path)
{
	_cleanup_free_ char *part = strdup(path);

	if (part == NULL)
		return -ENOMEM;
	for (char *p = strchr(part + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return 0;
}

static char *
make_path(const char *socket)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	bool own = state != NULL && state[0] == '/';
	uint64_t h = 0xcbf29ce484222325ULL;
	char *path = NULL;

	if (!own && (home == NULL || home[0] != '/'))
		return NULL;
	for (const char *p = socket; *p != '\0'; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3ULL;
	if (asprintf(&path, "%s%s/nanoseg/left-%016" PRIx64, own ? state : home,
		own ? "" : "/.local/state", h) < 0)
		return NULL;
	return path;
}

static void
read_ids(struct review_left *l)
{
	_cleanup_close_ int fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char line[64];
	uint64_t number;
	struct stat st;
	FILE *f;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > MAX_BYTES)
		return;
	f = fdopen(fd, "r");
	if (f == NULL)
		return;
	steal_fd(&fd);
	while (fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strlen(line) < EDGE_ID_STRLEN && edge_id_parse(line, &number) == 0 &&
		    remember(l, line) < 0)
			break;
	}
	fclose(f);
	if (l->n > 0)
		qsort(l->ids, l->n, sizeof(*l->ids), id_compare);
}

struct review_left *
review_left_load(const char *socket)
{
	struct review_left *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->path = make_path(socket);
	if (l->path != NULL && make_folders(l->path) < 0) {
		free(l->path);
		l->path = NULL;
	}
	if (l->path == NULL)
		cli_warn("no folder for what is left for later: it will be asked again");
	else
		read_ids(l);
	return l;
}

void
review_left_free(struct review_left *l)
{
	if (l == NULL)
		return;
	free(l->path);
	free(l->ids);
	free(l);
}

bool
review_left_has(const struct review_left *l, const char *id)
{
	return l->n > 0 && bsearch(id, l->ids, l->n, sizeof(*l->ids), id_compare) != NULL;
}

static void
write_ids(const char *path, int flags, char (*ids)[EDGE_ID_STRLEN], size_t n)
{
	_cleanup_close_ int fd =
	    open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	bool good = fd >= 0;

	for (size_t i = 0; good && i < n; i++)
		good = dprintf(fd, "%s\n", ids[i]) > 0;
	if (!good)
		cli_warn("%s: %s", path, strerror(errno));
}

void
review_left_add(struct review_left *l, const char *id)
{
	char one[1][EDGE_ID_STRLEN];
	uint64_t number;

	if (l->path == NULL || edge_id_parse(id, &number) < 0)
		return;
	snprintf(one[0], sizeof(one[0]), "%s", id);
	write_ids(l->path, O_APPEND, one, 1);
}

void
review_left_prune(struct review_left *l, const json_t *edges)
{
	_cleanup_free_ char *tmp = NULL;
	const json_t *e;
	size_t i, kept = 0;
	_cleanup_free_ bool *keep = calloc(l->n + 1, sizeof(*keep));

	if (l->path == NULL || l->n == 0 || keep == NULL)
		return;
	json_array_foreach(edges, i, e)
	{
		char(*found)[EDGE_ID_STRLEN] =
		    bsearch(show_text(e, "id", ""), l->ids, l->n, sizeof(*l->ids), id_compare);

		if (found != NULL && strcmp(show_text(e, "state", ""), "pending") == 0)
			keep[found - l->ids] = true;
	}
	for (i = 0; i < l->n; i++)
		if (keep[i])
			memmove(l->ids[kept++], l->ids[i], sizeof(*l->ids));
	if (kept == l->n || asprintf(&tmp, "%s.tmp", l->path) < 0)
		return;
	l->n = kept;
	write_ids(tmp, O_TRUNC, l->ids, l->n);
	if (rename(tmp, l->path) < 0)
		cli_warn("%s: %s", l->path, strerror(errno));
}
