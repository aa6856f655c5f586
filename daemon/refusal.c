/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A store that cannot be used: the controller lives, touches nothing, and says so to whoever asks.
 * The rules in the kernel stand as they are. It says why once, and then looks quietly: when the
 * file or the configuration has changed, or what failed for another reason than its contents can
 * be opened, it ends, and the supervisor's next start takes what is there.
 *
 * For the day that the store is lost, every revision is also left beside it as a file that `nanoseg
 * policy apply` takes. Nothing ever reads it here.
 */
#include "daemon/controller.h"
#include "daemon/log.h"
#include "daemon/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_S 2
#define LOOKS_PER_TRY 30

struct seen {
	uint64_t ino, size, changed_ns;
};

static struct seen
see(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return (struct seen){ 0 };
	return (struct seen){ .ino = st.st_ino,
		.size = (uint64_t)st.st_size,
		.changed_ns =
		    (uint64_t)st.st_ctim.tv_sec * NSEC_PER_SEC + (uint64_t)st.st_ctim.tv_nsec };
}

struct refusal {
	struct controller *c;
	struct event *timer;
	char paths[3][PATH_MAX];
	struct seen seen[3];
	bool may_pass; /* it is not the contents that are wrong */
	unsigned looks;
};

static bool
can_be_opened(const struct controller *c)
{
	struct store *s;
	struct diag d = { 0 };

	if (store_open(c->state_dir, &d, &s) < 0)
		return false;
	store_close(s);
	return true;
}

static void
on_look(evutil_socket_t fd, short what, void *arg)
{
	struct refusal *r = arg;
	bool again = r->may_pass && ++r->looks % LOOKS_PER_TRY == 0 && can_be_opened(r->c);

	for (size_t i = 0; i < ARRAY_SIZE(r->paths); i++) {
		struct seen now = see(r->paths[i]);

		again |= memcmp(&now, &r->seen[i], sizeof(now)) != 0;
	}
	if (!again)
		return;
	log_info("the store or the configuration has changed: trying it");
	event_base_loopbreak(r->c->loop.base);
}

int
refusal_begin(struct controller *c, const struct diag *d, int error)
{
	static struct refusal r;
	const struct timeval every = { LOOK_S, 0 };

	snprintf(c->refusal, sizeof(c->refusal),
	    "the store is not usable and nanosegd does nothing, the rules in the kernel stand: %s",
	    d->msg[0] != '\0' ? d->msg : strerror(-error));
	log_error("%s", c->refusal);
	r.c = c;
	r.may_pass = error != -EBADMSG && error != -EPROTO;
	snprintf(r.paths[0], sizeof(r.paths[0]), "%s/nanoseg.db", c->state_dir);
	snprintf(r.paths[1], sizeof(r.paths[1]), "%s/nanoseg.db-wal", c->state_dir);
	snprintf(r.paths[2], sizeof(r.paths[2]), "%s", c->config_path);
	for (size_t i = 0; i < ARRAY_SIZE(r.paths); i++)
		r.seen[i] = see(r.paths[i]);
	r.timer = event_new(c->loop.base, -1, EV_PERSIST, on_look, &r);
	return r.timer != NULL && evtimer_add(r.timer, &every) == 0 ? 0 : -ENOMEM;
}

static int
write_copy(const char *path, const char *text, size_t len)
{
	_cleanup_close_ int fd =
	    open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	ssize_t n;

	while (fd >= 0 && len > 0 && (n = write(fd, text, len)) > 0) {
		text += n;
		len -= (size_t)n;
	}
	return fd >= 0 && len == 0 && fsync(fd) == 0 ? 0 : -EIO;
}

void
refusal_keep_policy(const struct controller *c, const char *text)
{
	char path[PATH_MAX], fresh[PATH_MAX];

	if (c->state_dir == NULL)
		return;
	snprintf(path, sizeof(path), "%s/policy.json", c->state_dir);
	snprintf(fresh, sizeof(fresh), "%s/policy.json.new", c->state_dir);
	if (write_copy(fresh, text, strlen(text)) < 0 || rename(fresh, path) < 0)
		log_warn("%s: the copy of the policy is not that of revision %llu: %s", path,
		    (unsigned long long)c->revision, strerror(errno));
}
