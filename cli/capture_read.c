/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading is apart from understanding: here the bytes come in, in large pieces, and what rules/
 * savefile.c needs at once stands together in one buffer, which grows to the largest frame.
 */
#include "cli/capture_read.h"

#include "cli/confine.h"
#include "cli/learn.h"

#include "rules/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define READ_BUFFER (128 << 10) /* stays in the cache of one processor */
#define PROGRESS_EVERY 16384	/* frames between looks at the clock */
#define PROGRESS_NS (200 * NSEC_PER_MSEC)
#define BAR "##############################"
#define BAR_WIDTH ((int)sizeof(BAR) - 1)

static uint64_t
now_mono(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void
show_progress(struct capture *c)
{
	struct offline_stats s;
	uint64_t now = now_mono();
	int per_mille;

	if (c->size == 0 || now - c->shown_ns < PROGRESS_NS)
		return;
	c->shown_ns = now;
	per_mille = (int)(MIN(c->position, c->size) * 1000 / c->size);
	offline_stats(c->o, &s);
	fprintf(stderr, "\r[%-*.*s] %3d%%  %llu frames ", BAR_WIDTH, per_mille * BAR_WIDTH / 1000,
	    BAR, per_mille / 10, (unsigned long long)s.frames);
}

static void
end_progress(const struct capture *c)
{
	if (c->shown_ns != 0)
		fputs("\r\033[K", stderr);
}

/* Once for each such link type, as far as there is room to remember them. */
static void
warn_of_link(struct capture *c, int link)
{
	const char *name = pcap_datalink_val_to_name(link);

	for (size_t i = 0; i < c->n_unsupported; i++)
		if (c->unsupported[i] == link)
			return;
	if (c->n_unsupported == ARRAY_SIZE(c->unsupported))
		return;
	c->unsupported[c->n_unsupported++] = link;
	cli_warn("%s: frames of the link type %s (%d) are counted only: nanoseg finds no addresses "
		 "in them",
	    c->path, name != NULL ? name : "unknown", link);
}

/* Has `need` bytes stand from begin on. 1; 0: the file ends before; -errno. */
static int
fill(struct capture *c, size_t need)
{
	if (need > c->room) {
		uint8_t *more = realloc(c->buf, need);

		if (more == NULL)
			return -ENOMEM;
		c->buf = more;
		c->room = need;
	}
	memmove(c->buf, c->buf + c->begin, c->end - c->begin);
	c->end -= c->begin;
	c->begin = 0;
	while (c->end < need) {
		ssize_t n = read(c->fd, c->buf + c->end, c->room - c->end);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		c->end += (size_t)n;
		c->position += n;
	}
	return 1;
}

/* The next frame. 1; 0: there is none, and c->unread says whether that is the end. -ENOMEM. */
static int
next_frame(struct capture *c, struct savefile_frame *ret)
{
	const char *why;
	size_t used;
	int r;

	for (;;) {
		r = savefile_next(c->file, c->buf + c->begin, c->end - c->begin, &used, ret);
		if (r == SAVEFILE_MORE) {
			r = fill(c, used);
			if (r <= 0)
				break;
			continue;
		}
		if (r < 0)
			break;
		c->begin += used;
		if (r == SAVEFILE_FRAME)
			return 1;
	}
	if (r == -ENOMEM)
		return r;
	if (r == 0 && c->begin == c->end && savefile_may_end(c->file))
		return 0;
	why = savefile_fault(c->file);
	if (why == NULL)
		why = r < 0		 ? strerror(-r)
		      : c->position == 0 ? "the file is empty"
					 : "the file ends in the middle of it";
	snprintf(c->unread, sizeof(c->unread), "%s", why);
	return 0;
}

static int
read_frames(struct capture *c)
{
	struct savefile_frame f;
	uint64_t n = 0;
	int r, link = -1;

	while ((r = next_frame(c, &f)) == 1) {
		if (f.linktype != link && !frame_link_supported(f.linktype))
			warn_of_link(c, f.linktype);
		link = f.linktype;
		r = offline_frame(c->o, link, f.data, f.len, f.wire_len, f.time_ns);
		if (r < 0)
			break;
		if (++n % PROGRESS_EVERY == 0)
			show_progress(c);
	}
	end_progress(c);
	return r;
}

/* Whatever is made of the capture, it says less than the capture does. */
static void
warn_of_loss(const struct capture *c)
{
	struct offline_stats s;

	offline_stats(c->o, &s);
	if (s.evicted > 0)
		cli_warn("%s: %llu connections were forgotten before their end, for more than %u "
			 "were open at once: what went on later is not told of them",
		    c->path, (unsigned long long)s.evicted, OFFLINE_MAX_CONNECTIONS);
	if (s.lost > 0)
		cli_warn("%s: %llu connections made no edge: there is no room for more edges",
		    c->path, (unsigned long long)s.lost);
}

/* As above, of a file that could not be read to its end. */
static void
tell_unread(struct capture *c)
{
	struct offline_stats s;
	char why[CAPTURE_UNREAD_LEN];

	offline_stats(c->o, &s);
	memcpy(why, c->unread, sizeof(why));
	snprintf(c->unread, sizeof(c->unread), "what follows frame %llu cannot be read: %.100s",
	    (unsigned long long)s.frames, why);
	cli_warn("%s: %s", c->path, c->unread);
}

int
capture_read(struct capture *c)
{
	c->buf = malloc(READ_BUFFER);
	c->room = READ_BUFFER;
	if (c->buf == NULL || savefile_new(&c->file) < 0 || read_frames(c) == -ENOMEM)
		return cli_no_memory();
	if (!savefile_began(c->file)) {
		cli_error("%s: not a capture: %s", c->path, c->unread);
		return CLI_USAGE;
	}
	if (c->unread[0] != '\0')
		tell_unread(c);
	offline_finish(c->o);
	warn_of_loss(c);
	return CLI_OK;
}

static int
open_file(struct capture *c)
{
	struct stat st;

	if (strcmp(c->path, "-") == 0) {
		c->fd = STDIN_FILENO;
		return CLI_OK;
	}
	c->fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (c->fd < 0) {
		cli_error("%s: %s", c->path, strerror(errno));
		return CLI_USAGE;
	}
	if (isatty(STDERR_FILENO) == 1 && fstat(c->fd, &st) == 0 && S_ISREG(st.st_mode))
		c->size = st.st_size;
	return CLI_OK;
}

static int
open_capture(struct capture *c, const char *path, const char *map, enum offline_form form)
{
	uint64_t seed = 0;
	int r;

	*c = (struct capture){ .path = path, .fd = -1 };
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = now_mono();
	if (offline_new(seed, form, &c->o) < 0)
		return cli_no_memory();
	r = map != NULL ? learn_map(map, c->o) : CLI_OK;
	return r == CLI_OK ? open_file(c) : r;
}

int
capture_run(struct capture *c, const char *path, const char *map, enum offline_form form,
    int (*fn)(void *arg), void *arg)
{
	int r = open_capture(c, path, map, form);

	if (r == CLI_OK) {
		r = confine_run(fn, arg);
		r = r < 0 ? CLI_ERROR : r;
	}
	if (c->fd > STDIN_FILENO)
		close(c->fd);
	offline_free(c->o);
	return r;
}
