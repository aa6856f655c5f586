/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every command shares: exit codes, the global options, the table of commands. */
#ifndef NANOSEG_CLI_CLI_H
#define NANOSEG_CLI_CLI_H

#include "cli/args.h"
#include "cli/out.h"
#include "cli/remote.h"

#include <jansson.h>

#define DEFAULT_SOCKET RUNSTATEDIR "/nanoseg/nanosegd.sock"

/* The contract's exit codes. */
enum {
	CLI_OK = 0,
	CLI_ERROR = 1,
	CLI_USAGE = 2,	     /* or invalid input */
	CLI_DIFFERENCES = 3, /* or violations */
	CLI_UNREACHABLE = 4,
	CLI_NOT_PERMITTED = 5,
};

struct cli_command;

struct cli {
	const char *socket;
	unsigned timeout_s;
	struct out out;
	struct remote remote; /* if is_remote: -H */
	bool is_remote;
	const struct cli_command *command;
	bool help;
};

struct cli_command {
	const char *name;
	/* argv holds what follows the command's name. */
	int (*fn)(struct cli *cli, int argc, char **argv);
	const char *usage; /* what stands behind the name */
	const char *brief;
	const char *help; /* options and notes; ends in a newline, or is empty */
};

extern const struct cli_command cli_commands[];
extern const char cli_global_help[];

/*
 * The command's own options and the global ones. The number of other arguments, now at the front of
 * argv; or -1 with *ret_exit set (a mistake that was reported, or --help that was answered).
 */
int cli_options(struct cli *cli, const struct arg_option *own, size_t n_own, int argc, char **argv,
    int *ret_exit);
/* cli_options() for a command that takes no other argument. False: return *ret_exit. */
bool cli_options_only(struct cli *cli, const struct arg_option *own, size_t n_own, int argc,
    char **argv, int *ret_exit);

/* "nanoseg: ..." on standard error; what is not printable is escaped. */
void cli_error(const char *fmt, ...) _printf_(1, 2);
void cli_warn(const char *fmt, ...) _printf_(1, 2);
/* A mistake on the command line; returns CLI_USAGE. */
int cli_usage(const struct cli *cli, const char *fmt, ...) _printf_(2, 3);
int cli_no_memory(void);
/* For the result of a printing function: CLI_OK, or CLI_ERROR after saying why. */
int cli_printed(int r);

int cmd_status(struct cli *cli, int argc, char **argv);
int cmd_flows(struct cli *cli, int argc, char **argv);
int cmd_denials(struct cli *cli, int argc, char **argv);
int cmd_alerts(struct cli *cli, int argc, char **argv);
int cmd_graph(struct cli *cli, int argc, char **argv);
int cmd_edges(struct cli *cli, int argc, char **argv);
int cmd_approve(struct cli *cli, int argc, char **argv);
int cmd_deny(struct cli *cli, int argc, char **argv);
int cmd_mode(struct cli *cli, int argc, char **argv);
int cmd_review(struct cli *cli, int argc, char **argv);
int cmd_policy(struct cli *cli, int argc, char **argv);
int cmd_explain(struct cli *cli, int argc, char **argv);
int cmd_doctor(struct cli *cli, int argc, char **argv);
int cmd_gate(struct cli *cli, int argc, char **argv);
int cmd_confirm(struct cli *cli, int argc, char **argv);
int cmd_reload(struct cli *cli, int argc, char **argv);
int cmd_rollback(struct cli *cli, int argc, char **argv);
int cmd_quarantine(struct cli *cli, int argc, char **argv);
int cmd_verify(struct cli *cli, int argc, char **argv);
int cmd_release(struct cli *cli, int argc, char **argv);
int cmd_audit_log(struct cli *cli, int argc, char **argv);
int cmd_top(struct cli *cli, int argc, char **argv);
int cmd_simulate(struct cli *cli, int argc, char **argv);
int cmd_learn(struct cli *cli, int argc, char **argv);
int cmd_exposure(struct cli *cli, int argc, char **argv);
int cmd_export(struct cli *cli, int argc, char **argv);
int cmd_completion(struct cli *cli, int argc, char **argv);
int cmd_help(struct cli *cli, int argc, char **argv);

/*
 * Fetches path and shows it; with watch again each second, until interrupted. draw prints the table
 * form to f.
 */
typedef int (*cli_draw_fn)(const struct cli *cli, const json_t *answer, FILE *f, void *arg);
int cli_show(struct cli *cli, const char *path, bool watch, cli_draw_fn draw, void *arg);

#endif
