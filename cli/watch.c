/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A picture of one answer, once or redrawn each second. */
#include "cli/client.h"
#include "cli/page.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int
draw_text(struct cli *cli, const json_t *answer, cli_draw_fn draw, void *arg, char **ret)
{
	size_t len;
	FILE *f = open_memstream(ret, &len);
	int r;

	if (f == NULL)
		return -ENOMEM;
	r = draw(cli, answer, f, arg);
	if (fclose(f) != 0 && r == 0)
		r = -ENOMEM;
	return r;
}

/* What fits the window: the rest is counted in the last line. */
static void
put_frame(const char *text)
{
	unsigned height = out_height(), line = 0, left = 0;

	for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
		left++;
	fputs("\033[H", stdout);
	while (*text != '\0') {
		const char *end = strchrnul(text, '\n');

		if (height > 1 && line + 2 >= height && left > 1) {
			printf("... %u more lines\033[K\n", left);
			break;
		}
		printf("%.*s\033[K\n", (int)(end - text), text);
		line++;
		left--;
		text = *end != '\0' ? end + 1 : end;
	}
	fputs("\033[J", stdout);
}

static int
show_once(struct cli *cli, const char *path, cli_draw_fn draw, void *arg, bool watch)
{
	_cleanup_free_ char *text = NULL;
	json_t *answer = NULL;
	int r = client_get(cli, path, &answer);

	if (r != CLI_OK)
		return r;
	if (!watch)
		page_begin(&cli->out);
	if (!out_is_table(&cli->out))
		r = out_document(&cli->out, answer);
	else
		r = draw_text(cli, answer, draw, arg, &text);
	json_decref(answer);
	if (r == 0 && text != NULL) {
		if (watch)
			put_frame(text);
		else
			fputs(text, stdout);
	}
	return cli_printed(r);
}

int
cli_show(struct cli *cli, const char *path, bool watch, cli_draw_fn draw, void *arg)
{
	const struct timespec second = { .tv_sec = 1 };
	int r;

	if (!watch)
		return show_once(cli, path, draw, arg, false);
	if (!cli->out.terminal)
		return cli_usage(cli, "--watch needs a terminal");
	if (!out_is_table(&cli->out))
		return cli_usage(cli, "--watch goes with -o table and wide");
	fputs("\033[2J", stdout);
	for (;;) {
		out_measure(&cli->out);
		r = show_once(cli, path, draw, arg, true);
		if (r != CLI_OK)
			return r;
		if (fflush(stdout) != 0)
			return CLI_ERROR;
		nanosleep(&second, NULL);
	}
}
