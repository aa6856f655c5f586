/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg learn: edges from a capture. The capture is opened here and read in a confined child, by
 * libpcap and the learner, for it may come from anywhere.
 */
#include "cli/confine.h"
#include "cli/learn.h"

#include "rules/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#define READ_BUFFER (1 << 20)
#define PROGRESS_EVERY 16384 /* frames between looks at the clock */
#define PROGRESS_NS (200 * NSEC_PER_MSEC)
#define MAX_SECONDS (500ULL * 366 * 86400) /* what can be printed: the year 2470 */

struct learning {
	const struct cli *cli;
	const char *path;
	FILE *file;
	off_t size; /* 0: not known, or nobody looks */
	bool as_policy;
	struct offline *o;
	uint64_t shown_ns;
};

static uint64_t
now_mono(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void
show_progress(struct learning *l)
{
	struct offline_stats s;
	uint64_t now = now_mono();
	off_t at;

	if (l->size == 0 || now - l->shown_ns < PROGRESS_NS)
		return;
	l->shown_ns = now;
	at = ftello(l->file);
	offline_stats(l->o, &s);
	fprintf(stderr, "\r%3d%%  %llu frames ", (int)(MIN(MAX(at, 0), l->size) * 100 / l->size),
	    (unsigned long long)s.frames);
}

static void
end_progress(const struct learning *l)
{
	if (l->shown_ns != 0)
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
read_frames(struct learning *l, pcap_t *p)
{
	int link = pcap_datalink(p), got, r = 0;
	uint64_t n = 0;
	struct pcap_pkthdr *h;
	const u_char *data;

	if (!frame_link_supported(link)) {
		const char *name = pcap_datalink_val_to_name(link);

		cli_warn("%s: frames of the link type %s (%d) are counted only: nanoseg finds no "
			 "addresses in them",
		    l->path, name != NULL ? name : "unknown", link);
	}
	while (r == 0 && (got = pcap_next_ex(p, &h, &data)) == 1) {
		r = offline_frame(l->o, link, data, h->caplen, h->len, frame_time(h));
		if (++n % PROGRESS_EVERY == 0)
			show_progress(l);
	}
	end_progress(l);
	if (r < 0)
		return r;
	if (got == PCAP_ERROR)
		cli_warn("%s: what follows frame %llu cannot be read: %s", l->path,
		    (unsigned long long)n, pcap_geterr(p));
	return 0;
}

static int
learn(void *arg)
{
	struct learning *l = arg;
	char error[PCAP_ERRBUF_SIZE] = "";
	pcap_t *p =
	    pcap_fopen_offline_with_tstamp_precision(l->file, PCAP_TSTAMP_PRECISION_NANO, error);
	int r;

	if (p == NULL) {
		cli_error("%s: %s", l->path, error);
		return CLI_USAGE;
	}
	r = read_frames(l, p);
	if (r == -ENOMEM)
		return cli_no_memory();
	offline_finish(l->o);
	r = learn_show(l->cli, l->o, l->as_policy);
	return r == -EIO ? CLI_ERROR : cli_printed(r);
}

static int
open_capture(struct learning *l)
{
	struct stat st;
	int fd;

	if (strcmp(l->path, "-") == 0) {
		l->file = stdin;
		setvbuf(l->file, NULL, _IOFBF, READ_BUFFER);
		return CLI_OK;
	}
	fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	l->file = fd >= 0 ? fdopen(fd, "rb") : NULL;
	if (l->file == NULL) {
		cli_error("%s: %s", l->path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return CLI_USAGE;
	}
	setvbuf(l->file, NULL, _IOFBF, READ_BUFFER);
	if (isatty(STDERR_FILENO) == 1 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		l->size = st.st_size;
	return CLI_OK;
}

static int
run(struct learning *l, const char *map)
{
	uint64_t seed = 0;
	int r;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = now_mono();
	if (offline_new(seed, &l->o) < 0)
		return cli_no_memory();
	r = map != NULL ? learn_map(map, l->o) : CLI_OK;
	if (r == CLI_OK)
		r = open_capture(l);
	if (r == CLI_OK) {
		r = confine_run(learn, l);
		r = r < 0 ? CLI_ERROR : r;
	}
	if (l->file != NULL && l->file != stdin)
		fclose(l->file);
	offline_free(l->o);
	return r;
}

int
cmd_learn(struct cli *cli, int argc, char **argv)
{
	struct learning l = { .cli = cli };
	const char *map = NULL, *form = NULL;
	const struct arg_option own[] = {
		{ "pcap", 0, NULL, &l.path }, { "map", 0, NULL, &map },
		{ "output", 'o', NULL, &form }, /* one form more than other commands have */
	};
	int code;

	if (!cli_options_only(cli, own, ARRAY_SIZE(own), argc, argv, &code))
		return code;
	l.as_policy = form != NULL && strcmp(form, "policy") == 0;
	if (form != NULL && !l.as_policy && out_form_parse(form, &cli->out.form) < 0)
		return cli_usage(
		    cli, "-o: expected table, wide, json, yaml or policy, not '%s'", form);
	if (l.path == NULL)
		return cli_usage(cli, "--pcap FILE is needed");
	if (map != NULL && strcmp(map, "-") == 0 && strcmp(l.path, "-") == 0)
		return cli_usage(cli, "only one of the files can be standard input");
	return run(&l, map);
}
