/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg learn: edges from a capture. The capture is opened here and read in a confined child, by
 * libpcap and the learner, for it may come from anywhere.
 */
#include "cli/capture_read.h"
#include "cli/learn.h"

#include <errno.h>
#include <string.h>

struct learning {
	const struct cli *cli;
	bool as_policy;
	struct capture capture;
};

static int
learn(void *arg)
{
	struct learning *l = arg;
	int r = capture_read(&l->capture);

	if (r != CLI_OK)
		return r;
	r = learn_show(l->cli, &l->capture, l->as_policy);
	return r == -EIO ? CLI_ERROR : cli_printed(r);
}

int
cmd_learn(struct cli *cli, int argc, char **argv)
{
	struct learning l = { .cli = cli };
	bool exact = false;
	const char *path = NULL, *map = NULL, *form = NULL;
	const struct arg_option own[] = {
		{ "pcap", 0, NULL, &path }, { "map", 0, NULL, &map }, { "exact", 0, &exact, NULL },
		{ "output", 'o', NULL, &form }, /* one form more than other commands have */
	};
	int code;

	if (!cli_options_only(cli, own, ARRAY_SIZE(own), argc, argv, &code))
		return code;
	l.as_policy = form != NULL && strcmp(form, "policy") == 0;
	if (form != NULL && !l.as_policy && out_form_parse(form, &cli->out.form) < 0)
		return cli_usage(
		    cli, "-o: expected table, wide, json, yaml or policy, not '%s'", form);
	if (path == NULL)
		return cli_usage(cli, "--pcap FILE is needed");
	if (map != NULL && strcmp(map, "-") == 0 && strcmp(path, "-") == 0)
		return cli_usage(cli, "only one of the files can be standard input");
	return capture_run(&l.capture, path, map, exact ? OFFLINE_FLOWS : OFFLINE_EDGES, learn, &l);
}
