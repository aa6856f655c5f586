/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg completion: bash gets the script that contrib/nanoseg.bash is, built in; zsh the same, by
 * its own means for bash's; fish one that is made from the table of commands and their help.
 */
#include "cli/cli.h"
#include "cli/completion.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* zsh reads bash's completions; words there are split as sh does. */
static const char zsh_head[] = "#compdef nanoseg\n"
			       "# zsh completion for nanoseg(1). Source it after compinit.\n"
			       "autoload -U +X bashcompinit && bashcompinit\n";

static const char fish_head[] =
    "# fish completion for nanoseg(1). Save it as ~/.config/fish/completions/nanoseg.fish.\n"
    "\n"
    "# Where the daemon is, if the line so far says so.\n"
    "function __nanoseg_ask\n"
    "    set -l words (commandline -opc)\n"
    "    set -l socket\n"
    "    for option in --socket --host -H\n"
    "        set -l at (contains -i -- $option $words)\n"
    "        and set socket $option $words[(math $at + 1)]\n"
    "    end\n"
    "    nanoseg $socket --timeout 2 $argv 2>/dev/null\n"
    "end\n"
    "\n"
    "# Words of letters that are safe in a shell, one on a line.\n"
    "function __nanoseg_workloads\n"
    "    __nanoseg_ask status -o wide --no-headers | awk '{ print $1 }' | "
    "string match -r '^[A-Za-z0-9_./-]+$'\n"
    "end\n"
    "\n"
    "function __nanoseg_ids\n"
    "    __nanoseg_ask edges -o wide | awk '$1 ~ /^e-/ { print $1 }' | "
    "string match -r '^[A-Za-z0-9-]+$'\n"
    "    __nanoseg_ask denials -o wide | awk '$1 ~ /^d-/ { print $1 }' | "
    "string match -r '^[A-Za-z0-9-]+$'\n"
    "end\n"
    "\n"
    "complete -c nanoseg -e\n"
    "complete -c nanoseg -f\n";

/* What may stand behind a command's name. */
static const struct {
	const char *command, *words;
} arguments[] = {
	{ "policy", "show validate diff apply import" },
	{ "gate", "install remove status" },
	{ "audit-log", "show verify" },
	{ "export", "json csv html html-static oscal k8s cilium ocsf syslog graph dot mermaid "
		    "access access-csv access-syslog" },
	{ "completion", "bash zsh fish" },
	{ "mode", "observe audit enforce (__nanoseg_workloads)" },
	{ "review", "(__nanoseg_workloads)" },
	{ "explain", "host internet (__nanoseg_workloads)" },
	{ "quarantine", "(__nanoseg_workloads)" },
	{ "release", "(__nanoseg_workloads)" },
	{ "approve", "(__nanoseg_ids)" },
	{ "deny", "(__nanoseg_ids)" },
};

/* And behind an option. */
static const struct {
	const char *option, *words;
} values[] = {
	{ "state", "pending approved denied" },
	{ "direction", "ingress egress both" },
	{ "engine", "docker podman containerd" },
	{ "kind", "denial drift loss lateStart selfTest foreignOwner overdueReview unapprovedImage "
		  "quarantine rollback noisyNeighbour newPeer denialBurst scan newName "
		  "spoofedSource" },
	{ "workload", "(__nanoseg_workloads)" },
	{ "output", "table wide json yaml" },
};

/* Between single quotes: fish knows \\ and \' there. */
static void
put_quoted(const char *text, size_t len)
{
	putchar('\'');
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\'' || text[i] == '\\')
			putchar('\\');
		putchar(text[i]);
	}
	putchar('\'');
}

/* "  --state STATE      pending, approved or denied": a value where capitals follow the name. */
static void
put_option(const char *command, const char *line, size_t len)
{
	const char *name = line + 4, *end = line + len;
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz-");
	const char *text = name + n;
	bool value = end - text > 1 && (isupper((unsigned char)text[1]) || text[1] == '[');

	while (text + 1 < end && (text[0] != ' ' || text[1] != ' '))
		text++;
	while (text < end && *text == ' ')
		text++;
	printf("complete -c nanoseg ");
	if (command != NULL)
		printf("-n '__fish_seen_subcommand_from %s' ", command);
	printf("-l %.*s %s -d ", (int)n, name, value ? "-r" : "");
	put_quoted(text, (size_t)(end - text));
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		if (strlen(values[i].option) == n && strncmp(values[i].option, name, n) == 0)
			printf(" -a '%s'", values[i].words);
	putchar('\n');
}

static void
put_options(const char *command, const char *help)
{
	while (*help != '\0') {
		size_t len = strcspn(help, "\n");

		if (strncmp(help, "  --", 4) == 0)
			put_option(command, help, len);
		help += len + (help[len] != '\0');
	}
}

static void
put_fish(void)
{
	fputs(fish_head, stdout);
	for (const struct cli_command *c = cli_commands; c->name != NULL; c++) {
		printf("complete -c nanoseg -n __fish_use_subcommand -a %s -d ", c->name);
		put_quoted(c->brief, strlen(c->brief));
		printf("\n");
		put_options(c->name, c->help);
	}
	for (size_t i = 0; i < ARRAY_SIZE(arguments); i++)
		printf("complete -c nanoseg -n '__fish_seen_subcommand_from %s' -a '%s'\n",
		    arguments[i].command, arguments[i].words);
	put_options(NULL, cli_global_help);
	printf("complete -c nanoseg -s o -l output -r -a 'table wide json yaml'\n"
	       "complete -c nanoseg -s H -l host -r\n");
}

int
cmd_completion(struct cli *cli, int argc, char **argv)
{
	int code, n = cli_options(cli, NULL, 0, argc, argv, &code);

	if (n < 0)
		return code;
	if (n == 1 && strcmp(argv[0], "bash") == 0)
		fputs(completion_bash, stdout);
	else if (n == 1 && strcmp(argv[0], "zsh") == 0)
		printf("%s%s", zsh_head, completion_bash);
	else if (n == 1 && strcmp(argv[0], "fish") == 0)
		put_fish();
	else
		return cli_usage(cli, "expected the name of a shell: bash, zsh or fish");
	return CLI_OK;
}
