/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/capture_read.h"

#include "cli/confine.h"
#include "cli/learn.h"

#include "rules/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#define READ_BUFFER (128 << 10) /* stays in the cache of one processor */
#define PROGRESS_EVERY 16384	/* frames between looks at the clock */
#define PROGRESS_NS (200 * NSEC_PER_MSEC)
#define BAR "##############################"
#define BAR_WIDTH ((int)sizeof(BAR) - 1)
#define MAX_SECONDS (500ULL * 366 * 86400) /* what can be printed: the year 2470 */

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
	per_mille = (int)(MIN(MAX(ftello(c->file), 0), c->size) * 1000 / c->size);
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

/* A capture's clock is not believed, only bounded. */
static uint64_t
frame_time(const struct pcap_pkthdr *h)
{
	uint64_t sec = (uint64_t)MAX(h->ts.tv_sec, 0), nsec = (uint64_t)MAX(h->ts.tv_usec, 0);

	return MIN(sec, MAX_SECONDS) * NSEC_PER_SEC + MIN(nsec, NSEC_PER_SEC - 1);
}

static int
read_frames(struct capture *c, pcap_t *p)
{
	int link = pcap_datalink(p), got, r = 0;
	uint64_t n = 0;
	struct pcap_pkthdr *h;
	const u_char *data;

	if (!frame_link_supported(link)) {
		const char *name = pcap_datalink_val_to_name(link);

		cli_warn("%s: frames of the link type %s (%d) are counted only: nanoseg finds no "
			 "addresses in them",
		    c->path, name != NULL ? name : "unknown", link);
	}
	while (r == 0 && (got = pcap_next_ex(p, &h, &data)) == 1) {
		r = offline_frame(c->o, link, data, h->caplen, h->len, frame_time(h));
		if (++n % PROGRESS_EVERY == 0)
			show_progress(c);
	}
	end_progress(c);
	if (r < 0)
		return r;
	if (got == PCAP_ERROR)
		cli_warn("%s: what follows frame %llu cannot be read: %s", c->path,
		    (unsigned long long)n, pcap_geterr(p));
	return 0;
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

int
capture_read(struct capture *c)
{
	char error[PCAP_ERRBUF_SIZE] = "";
	pcap_t *p =
	    pcap_fopen_offline_with_tstamp_precision(c->file, PCAP_TSTAMP_PRECISION_NANO, error);

	if (p == NULL) {
		cli_error("%s: %s", c->path, error);
		return CLI_USAGE;
	}
	if (read_frames(c, p) == -ENOMEM)
		return cli_no_memory();
	offline_finish(c->o);
	warn_of_loss(c);
	return CLI_OK;
}

/* Without memory of its own for it, glibc keeps to a block of the file whatever the size says. */
static void
set_buffer(FILE *f)
{
	static char buffer[READ_BUFFER];

	setvbuf(f, buffer, _IOFBF, sizeof(buffer));
	__fsetlocking(f, FSETLOCKING_BYCALLER);
}

static int
open_file(struct capture *c)
{
	struct stat st;
	int fd;

	if (strcmp(c->path, "-") == 0) {
		c->file = stdin;
		set_buffer(c->file);
		return CLI_OK;
	}
	fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	c->file = fd >= 0 ? fdopen(fd, "rb") : NULL;
	if (c->file == NULL) {
		cli_error("%s: %s", c->path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return CLI_USAGE;
	}
	set_buffer(c->file);
	if (isatty(STDERR_FILENO) == 1 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		c->size = st.st_size;
	return CLI_OK;
}

static int
open_capture(struct capture *c, const char *path, const char *map, enum offline_form form)
{
	uint64_t seed = 0;
	int r;

	*c = (struct capture){ .path = path };
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
	if (c->file != NULL && c->file != stdin)
		fclose(c->file);
	offline_free(c->o);
	return r;
}
