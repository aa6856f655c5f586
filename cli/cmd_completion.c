/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg completion: the script that contrib/nanoseg.bash is, built in. */
#include "cli/cli.h"
#include "cli/completion.h"

#include <string.h>

int
cmd_completion(struct cli *cli, int argc, char **argv)
{
	int code, n = cli_options(cli, NULL, 0, argc, argv, &code);

	if (n < 0)
		return code;
	if (n != 1 || strcmp(argv[0], "bash") != 0)
		return cli_usage(cli, "expected the name of a shell: bash");
	fputs(completion_bash, stdout);
	return CLI_OK;
}
