/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each table was read back with last, in STATE/tables: an orphan that is adopted after a death
 * of warden and keeper may have been adopted by another before, changed and left again.
 *
 * A row is struck out before its table is changed, and written when that has been read back: what
 * is there is what was there, or it is not known. Nothing of it outlives the boot, and so nothing
 * is synced: the kernel keeps it over our death.
 */
#include "config.h"

#include "daemon/controller.h"
#include "daemon/enforce.h"
#include "daemon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct row {
	uint64_t cookie; /* 0: free, or struck out */
	uint64_t time_ns;
	uint8_t kernel[RULESET_DIGEST_LEN];
};

struct tables {
	int fd;
	char head[64]; /* as at the begin of the file: of another boot or program it says nothing */
	size_t next;   /* where a new row goes if none is free */
	struct row rows[CTL_MAX_INSTANCES];
};

int
tables_open(struct controller *c)
{
	_cleanup_free_ struct tables *t = calloc(1, sizeof(*t));
	char boot[BOOT_ID_STRLEN], path[4096], head[sizeof(t->head)] = "";
	size_t len = sizeof(t->rows);
	int n = snprintf(path, sizeof(path), "%s/tables", c->state_dir);

	if (t == NULL)
		return -ENOMEM;
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	snprintf(t->head, sizeof(t->head), "%.20s %s", PACKAGE_VERSION, boot_id(boot));
	t->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (t->fd < 0)
		return -errno;
	if (pread(t->fd, head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
	    memcmp(head, t->head, sizeof(head)) != 0 ||
	    pread(t->fd, t->rows, len, sizeof(head)) != (ssize_t)len) {
		memset(t->rows, 0, len);
		if (pwrite(t->fd, t->rows, len, sizeof(head)) != (ssize_t)len ||
		    pwrite(t->fd, t->head, sizeof(head), 0) != (ssize_t)sizeof(head)) {
			close(t->fd);
			return -EIO;
		}
	}
	c->tables = steal_ptr(t);
	return 0;
}

static struct row *
row_of(struct tables *t, uint64_t cookie)
{
	for (size_t k = 0; t != NULL && k < ARRAY_SIZE(t->rows); k++)
		if (t->rows[k].cookie == cookie)
			return &t->rows[k];
	return NULL;
}

static void
write_row(struct controller *c, const struct row *r)
{
	struct tables *t = c->tables;
	size_t at = sizeof(t->head) + (size_t)(r - t->rows) * sizeof(*r);
	bool emptied;

	if (pwrite(t->fd, r, sizeof(*r), (off_t)at) == (ssize_t)sizeof(*r))
		return;
	/* What it says is out of date: the next start is not to believe it. */
	emptied = ftruncate(t->fd, 0) == 0;
	log_error("%s/tables cannot be written%s: what is changed in tables while nobody owns them "
		  "is not told until the next start",
	    c->state_dir, emptied ? "" : " nor emptied, and is to be removed");
	close_fd(&t->fd);
	free(t);
	c->tables = NULL;
}

void
tables_strike(struct controller *c, uint64_t cookie)
{
	struct row *r = row_of(c->tables, cookie);

	if (r == NULL)
		return;
	*r = (struct row){ 0 };
	write_row(c, r);
}

void
tables_note(struct controller *c, uint64_t cookie, const uint8_t kernel[static RULESET_DIGEST_LEN])
{
	struct tables *t = c->tables;
	struct row *r = row_of(t, cookie);

	if (t == NULL)
		return;
	if (r == NULL)
		r = row_of(t, 0);
	if (r == NULL)
		r = &t->rows[t->next++ % ARRAY_SIZE(t->rows)];
	r->cookie = cookie;
	r->time_ns = now_real();
	memcpy(r->kernel, kernel, sizeof(r->kernel));
	write_row(c, r);
}

uint64_t
tables_changed(
    const struct controller *c, uint64_t cookie, const uint8_t kernel[static RULESET_DIGEST_LEN])
{
	static const uint8_t unread[RULESET_DIGEST_LEN];
	const struct row *r = row_of(c->tables, cookie);

	if (r == NULL || memcmp(kernel, unread, sizeof(unread)) == 0 ||
	    memcmp(r->kernel, kernel, sizeof(r->kernel)) == 0)
		return 0;
	return r->time_ns;
}
