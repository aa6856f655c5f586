/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/page.h"

#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 16

static pid_t pager;

/* By blanks: a pager is a program and its options, and no line for a shell. */
static size_t
split(char *text, char *ret[ARGS_MAX])
{
	char *save = NULL, *word = strtok_r(text, " \t", &save);
	size_t n = 0;

	for (; word != NULL && n < ARGS_MAX - 1; word = strtok_r(NULL, " \t", &save))
		ret[n++] = word;
	ret[n] = NULL;
	return n;
}

/* Tells on the second pipe why it could not begin; that is closed if it could. */
static void
run_pager(char *const *args, const int fds[2], int tell)
{
	int error;

	dup2(fds[0], STDIN_FILENO);
	close(fds[0]);
	close(fds[1]);
	/* Colours as they are, and out of the way when all of it fits. */
	setenv("LESS", "FRX", 0);
	execvp(args[0], args);
	error = errno;
	if (write(tell, &error, sizeof(error)) != sizeof(error))
		_exit(126);
	_exit(127);
}

/* 0 once the program runs, or why it does not. */
static int
start_pager(char *const *args, const int fds[2])
{
	int tell[2], error = 0;

	if (pipe2(tell, O_CLOEXEC) < 0)
		return errno;
	fflush(NULL);
	pager = fork();
	if (pager == 0)
		run_pager(args, fds, tell[1]);
	close(tell[1]);
	if (pager < 0)
		error = errno;
	else if (read(tell[0], &error, sizeof(error)) != sizeof(error))
		error = 0;
	close(tell[0]);
	return error;
}

void
page_begin(const struct out *o)
{
	const char *wanted = getenv("PAGER");
	_cleanup_free_ char *text = wanted != NULL ? strdup(wanted) : NULL;
	char *args[ARGS_MAX];
	int fds[2], error;

	if (pager != 0 || !o->terminal || text == NULL || split(text, args) == 0 ||
	    strcmp(args[0], "cat") == 0 || pipe(fds) < 0)
		return;
	error = start_pager(args, fds);
	if (error == 0)
		dup2(fds[1], STDOUT_FILENO);
	close(fds[0]);
	close(fds[1]);
	if (error != 0) {
		page_end();
		cli_warn("$PAGER: %s: %s; printed without it", args[0], strerror(error));
	}
}

void
page_end(void)
{
	int status;

	while (pager > 0 && waitpid(pager, &status, 0) < 0 && errno == EINTR)
		;
	pager = 0;
}

void
progress_show(const char *what, size_t done, size_t total)
{
	static bool shown;

	if (isatty(STDERR_FILENO) != 1)
		return;
	if (total > 0)
		fprintf(stderr, "\r%s: %zu of %zu\033[K", what, done, total);
	else if (shown)
		fputs("\r\033[K", stderr);
	shown = total > 0;
	fflush(stderr);
}
