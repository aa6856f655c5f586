/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg simulate: a candidate policy against what the daemon has seen, or against a capture. The
 * latter is read and judged in a confined child, and with a policy file needs no daemon.
 */
#include "cli/capture_read.h"
#include "cli/client.h"
#include "cli/file.h"
#include "cli/page.h"
#include "cli/policy.h"
#include "cli/simulate.h"

#include "rules/simulate.h"
#include "rules/timefmt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DEFAULT_SINCE "7d"
#define SINCE_MAX_NS (3660 * 86400 * NSEC_PER_SEC)

struct offline_run {
	const struct cli *cli;
	const struct policy *policy;
	enum simulate_modes modes;
	struct capture capture;
};

static int
print(const struct cli *cli, const json_t *answer, const char *over)
{
	bool breaks = simulate_answer_breaks(answer);
	int r = out_is_table(&cli->out) ? simulate_print(cli, answer, over)
					: out_document(&cli->out, answer);

	r = cli_printed(r);
	return r == CLI_OK && breaks ? CLI_DIFFERENCES : r;
}

static int
ask_daemon(struct cli *cli, const char *file, const char *since, bool all)
{
	_cleanup_(policy_freep) struct policy *p = NULL;
	_cleanup_free_ char *text = NULL, *path = NULL;
	char seconds[32], over[96], length[DURATION_STRLEN];
	json_t *answer = NULL;
	size_t len = 0;
	uint64_t ns;
	int r;

	if (duration_parse(since, &ns) < 0 || ns < NSEC_PER_SEC || ns > SINCE_MAX_NS)
		return cli_usage(
		    cli, "--since: expected a duration such as 12h or 7d, not '%s'", since);
	r = file != NULL ? policy_file_read(file, &text, &len, &p) : CLI_OK;
	if (r != CLI_OK)
		return r;
	snprintf(seconds, sizeof(seconds), "%" PRIu64, (uint64_t)(ns / NSEC_PER_SEC));
	path = client_path(
	    "/v1/simulate", "sinceSeconds", seconds, "modes", all ? "all" : NULL, (char *)NULL);
	if (path == NULL)
		return cli_no_memory();
	r = client_post(cli, path, "application/yaml", text != NULL ? text : "", len,
	    file != NULL && strcmp(file, "-") == 0 ? "stdin" : file, &answer);
	if (r != CLI_OK)
		return r;
	snprintf(over, sizeof(over), "in the last %s", duration_format(ns, length));
	page_begin(&cli->out);
	r = print(cli, answer, over);
	json_decref(answer);
	return r;
}

static int
add_flows(const struct offline *o, struct simulation *s)
{
	const struct edge_table *edges = offline_edges(o);
	const struct peer_table *peers = offline_peers(o);
	const struct edge *e;
	size_t pos = 0;
	int r = 0;

	while (r == 0 && (e = edge_table_next(edges, &pos)) != NULL) {
		const struct simulate_flow f = { .from = *peer_get(peers, e->key.from),
			.to = *peer_get(peers, e->key.to),
			.proto = e->key.proto,
			.port = e->key.port_lo,
			.connections = edge_connections(e),
			.last_seen_ns = e->evidence.last_seen_ns };

		r = simulate_add(s, &f);
		r = r == -ENOSPC ? 0 : r;
	}
	return r;
}

static int
judge(void *arg)
{
	struct offline_run *run = arg;
	_cleanup_(simulate_freep) struct simulation *s = NULL;
	json_t *answer;
	int r = capture_read(&run->capture);

	if (r != CLI_OK)
		return r;
	r = simulate_new(run->policy, NULL, run->modes, (uint64_t)time(NULL) * NSEC_PER_SEC,
	    (uint64_t)time(NULL), &s);
	if (r == 0)
		r = add_flows(run->capture.o, s);
	for (int more = 1; r == 0 && more == 1;) {
		more = simulate_step(s, NULL, NULL);
		r = more < 0 ? more : 0;
	}
	if (r == -E2BIG) {
		cli_error("the policy makes too many rules for one of its workloads");
		return CLI_USAGE;
	}
	answer = r == 0 ? simulate_to_json(s) : NULL;
	if (answer == NULL)
		return cli_no_memory();
	r = print(run->cli, answer, "in the capture");
	json_decref(answer);
	return r;
}

static int
read_capture(struct cli *cli, const char *file, const char *pcap, const char *map, bool all)
{
	_cleanup_(policy_freep) struct policy *p = NULL;
	_cleanup_free_ char *text = NULL;
	struct offline_run run = { .cli = cli };
	size_t len;
	int r = file != NULL ? policy_file_read(file, &text, &len, &p)
			     : policy_get(cli, NULL, false, &p);

	if (r != CLI_OK)
		return r;
	run.policy = p;
	run.modes = all || file == NULL ? SIMULATE_ALL : simulate_modes_of(p);
	return capture_run(&run.capture, pcap, map, OFFLINE_FLOWS, judge, &run);
}

int
cmd_simulate(struct cli *cli, int argc, char **argv)
{
	const char *file = NULL, *since = NULL, *pcap = NULL, *map = NULL;
	bool all = false;
	const struct arg_option own[] = {
		{ "file", 'f', NULL, &file },
		{ "since", 0, NULL, &since },
		{ "pcap", 0, NULL, &pcap },
		{ "map", 0, NULL, &map },
		{ "all", 0, &all, NULL },
	};
	int code;

	if (!cli_options_only(cli, own, ARRAY_SIZE(own), argc, argv, &code))
		return code;
	if (pcap != NULL && since != NULL)
		return cli_usage(cli, "--since is of the daemon's history, not of a capture");
	if (map != NULL && pcap == NULL)
		return cli_usage(cli, "--map goes with --pcap");
	if ((file != NULL && strcmp(file, "-") == 0) + (pcap != NULL && strcmp(pcap, "-") == 0) +
		(map != NULL && strcmp(map, "-") == 0) >
	    1)
		return cli_usage(cli, "only one of the files can be standard input");
	if (pcap != NULL)
		return read_capture(cli, file, pcap, map, all);
	return ask_daemon(cli, file, since != NULL ? since : DEFAULT_SINCE, all);
}
