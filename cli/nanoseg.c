/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg: the command line. Global options, the table of commands, and how mistakes are told. */
#include "config.h"
#include "cli/cli.h"
#include "cli/page.h"

#include "rules/read.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_TIMEOUT 60

const struct cli_command cli_commands[] = {
	{ "status", cmd_status, "[--watch] [--why]", "a line a workload",
	    "  --watch            redraw each second (needs a terminal)\n"
	    "  --why              why a workload cannot be enforced in full\n" },
	{ "top", cmd_top, "[-n ROUNDS]", "the busiest workloads, and what is unusual",
	    "Connections a second over a minute; peers new in a day. On a terminal redrawn each\n"
	    "second.\n"
	    "  -n, --rounds NUMBER  print so many times and end\n" },
	{ "graph", cmd_graph, "[--watch]", "who talks to whom",
	    "  --watch            redraw each second (needs a terminal)\n"
	    "  -o dot, -o mermaid  for Graphviz' dot, and for Mermaid\n" },
	{ "edges", cmd_edges, "[--state STATE] [--workload NAME] [--watch]",
	    "the edges, with their ids",
	    "  --state STATE      pending, approved or denied\n"
	    "  --workload NAME    only edges that touch this workload\n"
	    "  --watch            redraw each second (needs a terminal)\n" },
	{ "flows", cmd_flows, "[--follow|--watch]", "the latest connections, with verdict",
	    "  --follow           go on with new ones\n"
	    "  --watch            redraw each second (needs a terminal)\n" },
	{ "denials", cmd_denials, "[--follow|--watch] [--attempts]",
	    "refused connections, and what each would need",
	    "  --follow           go on with new ones\n"
	    "  --attempts         connections that nobody answered as well\n"
	    "  --watch            redraw each second (needs a terminal)\n" },
	{ "alerts", cmd_alerts,
	    "[--kind KIND] [--severity LEVEL] [--workload NAME] [--since TIME] [...]",
	    "what people were told of, and whether it got through",
	    "  --kind KIND        denial, drift, loss, lateStart, selfTest and so on: see "
	    "nanoseg(1)\n"
	    "  --severity LEVEL   at least so severe: critical, error, warning, notice or info\n"
	    "  --workload NAME    of this workload\n"
	    "  --since TIME       from then on: a time, or a duration before now (1h)\n"
	    "  --each             each that was told, and not a line for each subject\n"
	    "  --watch            redraw each second (needs a terminal)\n" },
	{ "review", cmd_review, "[WORKLOAD] [--all] [--from FILE] | --stale [DAYS] | --recertify",
	    "go through what waits for a decision, most important first",
	    "  --all              what was left in an earlier review as well\n"
	    "  --label KEY=VALUE  edges of workloads with this label\n"
	    "  --project NAME     edges of workloads of this project (NAME/...)\n"
	    "  --network NAME     edges with addresses of this network of the policy\n"
	    "  --reason TEXT      for every decision; else asked once for each group\n"
	    "  --ticket TEXT      the number of a change\n"
	    "  --expires WHEN     a duration (30d) or a time (2027-12-31T12:00:00Z)\n"
	    "  --from FILE        decisions, one on a line: y, x or n, an edge's id, the reason\n"
	    "  --stale [DAYS]     approved edges not used for so long (30), never seen, or about\n"
	    "                     to expire\n"
	    "  --recertify        approved edges, those overdue first: y lets one stand, on "
	    "record\n"
	    "Answers: y approve, n leave, x deny, a all of the group, e edit, s split, q quit, ?\n"
	    "help. Without a terminal the groups are listed.\n" },
	{ "approve", cmd_approve,
	    "ID...|--image W=IMAGE --reason TEXT [--ticket TEXT] [--expires WHEN]",
	    "approve edges by their own or a denial's id, or the image of a workload",
	    "  --image W=IMAGE    containers of this repository may run under the workload's name\n"
	    "  --reason TEXT      why; needed\n"
	    "  --ticket TEXT      the number of a change\n"
	    "  --expires WHEN     a duration (30d) or a time (2027-12-31T12:00:00Z)\n" },
	{ "deny", cmd_deny, "ID...|--image W=IMAGE --reason TEXT [--ticket TEXT] [--expires WHEN]",
	    "deny edges; a denied edge beats every approval",
	    "  --image W=IMAGE    the repository is not accepted under that name any more\n"
	    "  --reason TEXT      why; needed\n"
	    "  --ticket TEXT      the number of a change\n"
	    "  --expires WHEN     a duration (30d) or a time (2027-12-31T12:00:00Z)\n" },
	{ "mode", cmd_mode,
	    "WORKLOAD...|--all MODE [--direction D] [--confirm TIME] [-r REASON] [--yes]",
	    "set what happens to connections without an approved edge",
	    "  MODE               observe, audit or enforce\n"
	    "  --all              every workload\n"
	    "  --direction D      ingress, egress or both (the default)\n"
	    "  --confirm TIME     take it back unless nanoseg confirm comes in time (5m)\n"
	    "  --reason TEXT      why\n"
	    "  --yes              do not ask. Before it enforces, it says what would break; on a\n"
	    "                     terminal it asks if anything would\n"
	    "'nanoseg mode --all observe' opens everything again.\n" },
	{ "policy", cmd_policy, "show|validate|diff|apply|import [FILE]", "the policy as a file",
	    "policy show [--decided]                 print it, --decided without pending edges\n"
	    "policy validate FILE                    check a file; needs no daemon\n"
	    "policy diff FILE|REVISION [FILE|REVISION]\n"
	    "                                        what changes, from one to the other; one "
	    "file: from\n"
	    "                                        the policy in force to it; one revision: "
	    "since then\n"
	    "policy apply FILE [--expect REVISION] [--confirm TIME] [--reason TEXT]\n"
	    "                                        make it the policy in force\n"
	    "policy import FILE [--theirs] [--dry-run] [--reason TEXT]\n"
	    "                                        add its decided edges, labels and networks\n"
	    "  --expect REVISION  only if that is the revision now\n"
	    "  --confirm TIME     take it back unless nanoseg confirm comes in time (5m)\n"
	    "  --reason TEXT      why\n"
	    "  --theirs           take the file's word where the two say something else\n"
	    "  --dry-run          only the report\n"
	    "FILE is YAML or JSON, - is standard input.\n" },
	{ "explain", cmd_explain, "SOURCE DESTINATION:PORT[/PROTOCOL] [--at TIME]",
	    "would this connection pass, and why",
	    "  --at TIME          would it have passed then: a time (2026-07-01T12:00:00Z) or how\n"
	    "                     long ago (7d); who decided and what the kernel held, from the\n"
	    "                     audit log\n"
	    "  --dir DIR          then: the audit log's files there and not the daemon's\n"
	    "Ends are workloads, host, internet, addresses or prefixes; an IPv6 address stands in\n"
	    "brackets. The protocol is tcp unless given; for icmp and icmpv6 the port is the "
	    "type.\n"
	    "  nanoseg explain shop/web shop/db:5432\n"
	    "  nanoseg explain web '[fd00::1]:53/udp'\n" },
	{ "doctor", cmd_doctor, "", "check the kernel, the engine and the daemon", "" },
	{ "gate", cmd_gate, "install|remove|status [--engine ENGINE]",
	    "hold containers back until their rules are loaded",
	    "  --engine ENGINE    docker, podman (CRI-O as well) or containerd; without, all "
	    "found\n"
	    "  --wait TIME        how long a start may wait for the daemon (10s)\n"
	    "  --fail-open        start containers all the same when the daemon does not answer\n"
	    "  --runtime PATH     docker: the runtime behind the gate (what it was so far)\n"
	    "  --force            remove: even if containers need the entry\n"
	    "Runs as root on the machine itself and needs no daemon. Places:\n"
	    "  --dir DIR          copies of the gate's programs (/usr/local/lib/nanoseg)\n"
	    "  --programs DIR     where they are copied from\n"
	    "  --marker FILE      there while workloads are enforced\n"
	    "  --config FILE      docker: its configuration (/etc/docker/daemon.json)\n"
	    "  --data-root DIR    docker: its data (/var/lib/docker)\n"
	    "  --engine-socket PATH  docker: its socket (/run/docker.sock)\n"
	    "  --hooks-dir DIR    podman: its hooks (/usr/share/containers/oci/hooks.d)\n"
	    "  --base-spec FILE   containerd: the specification to write\n" },
	{ "confirm", cmd_confirm, "[REVISION] [--reason TEXT]", "keep a change made with --confirm",
	    "REVISION: only if it is the one that awaits confirmation.\n"
	    "  --reason TEXT      why\n" },
	{ "rollback", cmd_rollback, "[REVISION] [--reason TEXT]", "go back to an earlier revision",
	    "Makes a new revision that is as that one was: modes, decisions, networks. Without\n"
	    "REVISION: the one before. A quarantine stays.\n"
	    "  --reason TEXT      why\n" },
	{ "reload", cmd_reload, "", "read the daemon's configuration again",
	    "What can change while it runs changes, what needs a restart is named; of a file with "
	    "a\n"
	    "mistake nothing is taken, and its line and column are printed (exit code 2).\n" },
	{ "quarantine", cmd_quarantine,
	    "[--released | WORKLOAD|CONTAINER --reason TEXT [--allow-from PEERS]]",
	    "hold a workload or a container: nothing passes",
	    "Its connections are cut, every replica to come is held as well. Without arguments: "
	    "who\n"
	    "is held, and in a table who was released in the last 30 days. CONTAINER is 12 "
	    "digits\n"
	    "of its id or more.\n"
	    "  --released         list those released in every form of output\n"
	    "  --reason TEXT      why; needed\n"
	    "  --allow-from PEERS  who may still ask it, to look into it: "
	    "db,10.0.0.5,192.0.2.0/24\n" },
	{ "release", cmd_release, "WORKLOAD|CONTAINER --reason TEXT", "end a quarantine",
	    "  --reason TEXT      why; needed\n" },
	{ "verify", cmd_verify, "[--plan] [--max NUMBER]",
	    "probe whether what the policy says is so, from inside the containers",
	    "A sample of each approved edge is to be answered, of refused pairs nothing is to "
	    "come\n"
	    "through. Shown is what was not so (-o wide: everything); exit 3 if anything was not.\n"
	    "  --plan             what would be tried, for somebody else to try; sends nothing\n"
	    "  --max NUMBER       of approved and of refused probes (500)\n" },
	{ "audit-log", cmd_audit_log, "[show|verify]", "who decided what, when and why",
	    "audit-log show        the records; --since, --until, --event, --actor, --workload, "
	    "--last\n"
	    "audit-log verify      prove that nothing is missing or changed; 3 if something is\n"
	    "  --since, --until WHEN  a duration ago (7d) or a time (2027-12-31T12:00:00Z)\n"
	    "  --event NAME        approve, deny, mode, policy-apply, daemon-start, ...\n"
	    "  --actor NAME        a user's name, or uid:NUMBER\n"
	    "  --workload NAME     what touched this workload\n"
	    "  --last NUMBER       only the last records\n"
	    "  --head HASH         verify: this record, noted elsewhere, must be there\n"
	    "  --key KEY           verify: only this public key may have signed\n"
	    "  --dir DIR           read the files there and not the daemon's\n" },
	{ "simulate", cmd_simulate, "[-f POLICY] [--since TIME | --pcap FILE [--map FILE]] [--all]",
	    "what a policy would break, and what of it is unused",
	    "Holds a policy against the connections that were seen: exit 3 if it would break any.\n"
	    "  -f, --file POLICY  the candidate; else the policy in force, as if all were "
	    "enforced\n"
	    "  --since TIME       how much of the daemon's history (7d)\n"
	    "  --pcap FILE        a capture in place of it; with -f no daemon is needed\n"
	    "  --map FILE         whose addresses are in the capture, as for nanoseg learn\n"
	    "  --all              as if every workload were enforced; else the modes in the file\n"
	    "                     count, if it enforces any\n" },
	{ "learn", cmd_learn, "--pcap FILE [--map FILE] [--exact]",
	    "learn edges from a capture, without a daemon",
	    "  --pcap FILE        pcap or pcapng; - is standard input\n"
	    "  --map FILE         whose addresses these are, YAML or JSON:\n"
	    "                     {workloads: [{name: shop/web, addresses: [10.0.0.5, "
	    "fd00::/64]}]}\n"
	    "  --exact            each port and each address by itself, nothing summed up\n"
	    "  -o policy          the edges as a policy file, all pending\n" },
	{ "export", cmd_export, "FORMAT [--out FILE]", "evidence for auditors and other programs",
	    "FORMAT is one of\n"
	    "  json               the evidence bundle: all of it, with a manifest\n"
	    "  csv                a row for each allowed connection\n"
	    "  html               a report in one file, with the graph, to read and to print\n"
	    "  html-static        the same without a script\n"
	    "  oscal              OSCAL assessment results\n"
	    "  k8s, cilium        NetworkPolicy, with a warning for what it cannot say\n"
	    "  ocsf               OCSF network activity, an event a line\n"
	    "  syslog             denials, edges and exposure windows in RFC 5424, one a line\n"
	    "  graph              the graph as a page, to look at\n"
	    "  dot, mermaid       the graph\n"
	    "  access, access-csv, access-syslog\n"
	    "                     the audit log: who did what, verified; takes --since\n"
	    "Options:\n"
	    "  --out FILE         into a file\n"
	    "  --manifest FILE    SHA-256 of that file, as sha256sum -c reads it\n"
	    "  --signature FILE   the daemon's signature of its SHA-256\n"
	    "  --from FILE        from an evidence bundle (json) and not from the daemon\n"
	    "  --compare FILE     what differs from an earlier evidence bundle\n"
	    "  --project NAME     only the workloads of a project and their connections\n"
	    "  --label KEY=VALUE  only workloads with these labels (scope=pci,tier=db)\n"
	    "  --since WHEN       what happened: a duration ago (90d) or a time\n"
	    "  --verification FILE  the JSON of nanoseg verify\n"
	    "  --controls FILE    more control mappings, a file or a folder\n"
	    "  --data-dir DIR     where the installed ones are\n"
	    "Each export from the daemon is recorded in its audit log.\n" },
	{ "exposure", cmd_exposure, "--scan FILE [FILE...] [--file POLICY]",
	    "who can reach workloads that a scan found vulnerable",
	    "  --scan FILE        the JSON of trivy image or grype; more may follow\n"
	    "  -f, --file POLICY  a candidate policy: what would be under it as well\n"
	    "  --severity LEVEL   only findings of unknown, low, medium, high or critical, or "
	    "worse\n"
	    "  --from FILE        an evidence bundle (export json) and not the daemon\n"
	    "Exit code 3: one of them can be reached from outside.\n" },
	{ "completion", cmd_completion, "bash|zsh|fish", "print the completion script of a shell",
	    "" },
	{ "help", cmd_help, "[COMMAND]", "how a command is used", "" },
	{ NULL, NULL, NULL, NULL, NULL },
};

const char cli_global_help[] =
    "  --socket PATH      the daemon's socket (" DEFAULT_SOCKET ")\n"
    "  -H, --host URL     another machine's daemon: ssh://[USER@]HOST[:PORT][/SOCKET]\n"
    "  --timeout SECONDS  give up on an answer (60)\n"
    "  -o, --output FORM  table, wide, json or yaml\n"
    "  --no-headers       tables: the rows alone\n"
    "  -h, --help         this text; after a command, the command's\n"
    "  --version\n";

static const char exit_help[] =
    "Exit codes: 0 ok, 1 error, 2 usage or invalid input, 3 problems found, 4 daemon not\n"
    "reachable, 5 not permitted.\n";

struct globals {
	const char *socket, *form, *host, *timeout;
	bool help, version, no_headers;
};

static struct globals globals;

static const struct arg_option global_options[] = {
	{ "socket", 0, NULL, &globals.socket },
	{ "output", 'o', NULL, &globals.form },
	{ "host", 'H', NULL, &globals.host },
	{ "timeout", 0, NULL, &globals.timeout },
	{ "no-headers", 0, &globals.no_headers, NULL },
	{ "help", 'h', &globals.help, NULL },
	{ "version", 0, &globals.version, NULL },
};

static void print_message(const char *fmt, va_list ap) _printf_(1, 0);

static void
print_message(const char *fmt, va_list ap)
{
	_cleanup_free_ char *raw = NULL, *safe = NULL;

	if (vasprintf(&raw, fmt, ap) < 0)
		raw = NULL;
	safe = text_safe_sentence(raw);
	fprintf(stderr, "%s\n", safe != NULL ? safe : "out of memory");
}

void
cli_error(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("nanoseg: ", stderr);
	va_start(ap, fmt);
	print_message(fmt, ap);
	va_end(ap);
}

void
cli_warn(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("nanoseg: warning: ", stderr);
	va_start(ap, fmt);
	print_message(fmt, ap);
	va_end(ap);
}

int
cli_usage(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	fputs("nanoseg: ", stderr);
	va_start(ap, fmt);
	print_message(fmt, ap);
	va_end(ap);
	if (cli->command != NULL)
		fprintf(stderr, "Try 'nanoseg %s --help'.\n", cli->command->name);
	else
		fputs("Try 'nanoseg --help'.\n", stderr);
	return CLI_USAGE;
}

int
cli_no_memory(void)
{
	cli_error("out of memory");
	return CLI_ERROR;
}

int
cli_printed(int r)
{
	if (r == 0 || r == -EIO) /* main() tells of a failed write */
		return CLI_OK;
	cli_error("%s", r == -ENOMEM ? "out of memory" : "the answer cannot be shown in this form");
	return CLI_ERROR;
}

static void
print_usage(FILE *f)
{
	fputs("usage: nanoseg [OPTION]... COMMAND [ARGUMENT]...\n\n", f);
	for (const struct cli_command *c = cli_commands; c->name != NULL; c++)
		fprintf(f, "  %-11s %s\n", c->name, c->brief);
	fprintf(f, "\n%s\n%s", cli_global_help, exit_help);
}

static void
print_help(const struct cli_command *c)
{
	printf("usage: nanoseg %s%s%s\n\n%c%s.\n%s%s\nGlobal options:\n%s", c->name,
	    c->usage[0] != '\0' ? " " : "", c->usage, toupper(c->brief[0]), c->brief + 1,
	    c->help[0] != '\0' ? "\n" : "", c->help, cli_global_help);
}

static int
apply_globals(struct cli *cli)
{
	struct diag d;
	uint64_t seconds;

	if (globals.host != NULL && globals.socket != NULL)
		return cli_usage(cli, "-H and --socket do not go together: the socket over there "
				      "stands behind the host");
	if (globals.host != NULL &&
	    remote_parse(globals.host, DEFAULT_SOCKET, &cli->remote, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	cli->is_remote = globals.host != NULL;
	cli->out.no_headers = globals.no_headers;
	if (globals.socket != NULL)
		cli->socket = globals.socket;
	if (globals.form != NULL && out_form_parse(globals.form, &cli->out.form) < 0)
		return cli_usage(
		    cli, "-o: expected table, wide, json or yaml, not '%s'", globals.form);
	if (globals.timeout != NULL) {
		if (number_arg("--timeout", globals.timeout, 86400, &seconds, &d) < 0)
			return cli_usage(cli, "%s", d.msg);
		if (seconds == 0)
			return cli_usage(cli, "--timeout: expected at least a second");
		cli->timeout_s = (unsigned)seconds;
	}
	return CLI_OK;
}

int
cli_options(struct cli *cli, const struct arg_option *own, size_t n_own, int argc, char **argv,
    int *ret_exit)
{
	struct diag d;
	int n = args_read(own, n_own, global_options, ARRAY_SIZE(global_options), argc, argv, &d);

	if (n < 0) {
		*ret_exit = cli_usage(cli, "%s", d.msg);
		return -1;
	}
	if (globals.version) {
		puts(PACKAGE_NAME " " PACKAGE_VERSION);
		*ret_exit = CLI_OK;
		return -1;
	}
	if (globals.help) {
		print_help(cli->command);
		*ret_exit = CLI_OK;
		return -1;
	}
	*ret_exit = apply_globals(cli);
	return *ret_exit == CLI_OK ? n : -1;
}

bool
cli_options_only(struct cli *cli, const struct arg_option *own, size_t n_own, int argc, char **argv,
    int *ret_exit)
{
	int n = cli_options(cli, own, n_own, argc, argv, ret_exit);

	if (n > 0)
		*ret_exit = cli_usage(cli, "unexpected argument '%s'", argv[0]);
	return n == 0;
}

static const struct cli_command *
find_command(const char *name)
{
	for (const struct cli_command *c = cli_commands; c->name != NULL; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static int
fail_command(const struct cli *cli, const char *name)
{
	const char *known[ARRAY_SIZE(cli_commands)], *near;
	size_t n = 0;

	for (const struct cli_command *c = cli_commands; c->name != NULL; c++)
		known[n++] = c->name;
	near = nearest_word(name, known, n);
	if (near != NULL)
		return cli_usage(cli, "there is no command '%s', did you mean '%s'?", name, near);
	return cli_usage(cli, "there is no command '%s'", name);
}

int
cmd_help(struct cli *cli, int argc, char **argv)
{
	int code, n = cli_options(cli, NULL, 0, argc, argv, &code);

	if (n < 0)
		return code;
	if (n > 1)
		return cli_usage(cli, "expected one command");
	if (n == 0) {
		print_usage(stdout);
		return CLI_OK;
	}
	cli->command = find_command(argv[0]);
	if (cli->command == NULL)
		return fail_command(cli, argv[0]);
	print_help(cli->command);
	return CLI_OK;
}

static int
run(struct cli *cli, int argc, char **argv)
{
	struct diag d;
	int next;

	if (args_read_global(global_options, ARRAY_SIZE(global_options), argc, argv, &d, &next) < 0)
		return cli_usage(cli, "%s", d.msg);
	if (globals.version) {
		puts(PACKAGE_NAME " " PACKAGE_VERSION);
		return CLI_OK;
	}
	if (next == argc) {
		if (!globals.help)
			fputs("nanoseg: a command is needed\n", stderr);
		print_usage(globals.help ? stdout : stderr);
		return globals.help ? CLI_OK : CLI_USAGE;
	}
	cli->command = find_command(argv[next]);
	if (cli->command == NULL)
		return fail_command(cli, argv[next]);
	return cli->command->fn(cli, argc - next - 1, argv + next + 1);
}

int
main(int argc, char **argv)
{
	static struct cli cli = { .socket = DEFAULT_SOCKET, .timeout_s = DEFAULT_TIMEOUT };
	int code, r;

	/* LC_NUMERIC stays C: numbers look the same everywhere. */
	setlocale(LC_TIME, "");
	out_init(&cli.out);
	if (curl_global_init(CURL_GLOBAL_NOTHING) != 0) {
		cli_error("libcurl cannot start");
		return CLI_ERROR;
	}
	code = run(&cli, argc > 0 ? argc - 1 : 0, argv + 1);
	r = out_close();
	page_end();
	curl_global_cleanup();
	/* A reader that has gone away knows. */
	if (r < 0 && code == CLI_OK) {
		if (r != -EPIPE)
			cli_error("standard output: %s", strerror(-r));
		code = CLI_ERROR;
	}
	return code;
}
