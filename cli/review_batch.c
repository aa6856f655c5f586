/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg review --from FILE: a decision a line, "y ID REASON". The whole file is read and checked
 * before anything is decided; lines in a row with one verb and reason are one request.
 */
#include "cli/client.h"
#include "cli/file.h"
#include "cli/review.h"
#include "cli/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAX_LINES 100000
#define MAX_IDS 10000 /* in a request */

struct line {
	char verb;
	const char *id, *reason;
};

/* The next word of *rest, ended with a NUL, or NULL. */
static char *
next_word(char **rest)
{
	char *word = *rest + strspn(*rest, " \t\r");

	if (*word == '\0')
		return NULL;
	*rest = word + strcspn(word, " \t\r");
	if (**rest != '\0')
		*(*rest)++ = '\0';
	return word;
}

/* 1: a decision, 0: nothing on this line, -EINVAL with *d. */
static int
read_line(char *text, const char *reason, struct line *ret, struct diag *d)
{
	char *word = next_word(&text), *end;
	struct line l = { 0 };
	uint64_t number;

	if (word == NULL || word[0] == '#')
		return 0;
	if (strlen(word) != 1 || strchr("ynx", word[0]) == NULL) {
		diag_set(d, 0, 1, "expected y (approve), x (deny) or n (leave) first");
		return -EINVAL;
	}
	l.verb = word[0];
	l.id = next_word(&text);
	if (l.id == NULL || strlen(l.id) >= EDGE_ID_STRLEN || edge_id_parse(l.id, &number) < 0) {
		diag_set(d, 0, 1, "expected the id of an edge (e-...) behind the letter");
		return -EINVAL;
	}
	l.reason = text + strspn(text, " \t\r");
	end = (char *)l.reason + strlen(l.reason);
	while (end > l.reason && strchr(" \t\r", end[-1]) != NULL)
		*--end = '\0';
	if (l.reason[0] == '\0')
		l.reason = reason;
	if (l.verb != 'n' && l.reason == NULL) {
		diag_set(d, 0, 1, "a decision needs a reason: behind the id, or --reason TEXT");
		return -EINVAL;
	}
	if (l.verb != 'n' && text_arg("the reason", l.reason, EDGE_REASON_MAX, d) < 0)
		return -EINVAL;
	*ret = l;
	return 1;
}

static int
read_lines(
    const char *file, char *text, size_t len, const char *reason, struct line **ret, size_t *ret_n)
{
	_cleanup_free_ struct line *lines = calloc(MAX_LINES, sizeof(*lines));
	char *at = text, *end = text + len, *newline;
	struct diag d = { 0 };
	size_t n = 0;
	int r = 0;

	if (lines == NULL)
		return cli_no_memory();
	for (unsigned number = 1; at < end && r >= 0; number++, at = newline + 1) {
		newline = memchr(at, '\n', (size_t)(end - at));
		if (newline == NULL)
			newline = end;
		*newline = '\0';
		if (strlen(at) != (size_t)(newline - at)) {
			diag_set(&d, 0, 1, "a zero byte: this is no text");
			r = -EINVAL;
		} else if (n == MAX_LINES) {
			diag_set(&d, 0, 1, "at most %d decisions in a file", MAX_LINES);
			r = -EINVAL;
		} else {
			r = read_line(at, reason, &lines[n], &d);
			n += r == 1;
		}
		d.line = number;
	}
	if (r < 0) {
		file_report(file, &d);
		return CLI_USAGE;
	}
	*ret = steal_ptr(lines);
	*ret_n = n;
	return CLI_OK;
}

static int
decide_lines(const struct cli *cli, const struct line *lines, size_t n,
    const struct review_why *given, int64_t *ret_revision)
{
	_cleanup_free_ const char **ids = calloc(n, sizeof(*ids));
	struct review_why why = *given;

	if (ids == NULL)
		return cli_no_memory();
	for (size_t i = 0; i < n; i++)
		ids[i] = lines[i].id;
	snprintf(why.reason, sizeof(why.reason), "%s", lines[0].reason);
	return review_decide(cli, lines[0].verb == 'y', ids, n, &why, ret_revision);
}

static bool
same_decision(const struct line *a, const struct line *b)
{
	return a->verb == b->verb && (a->verb == 'n' || strcmp(a->reason, b->reason) == 0);
}

int
review_batch(const struct review *v, const char *file)
{
	_cleanup_free_ struct line *lines = NULL;
	_cleanup_free_ char *text = NULL;
	struct review_why given = { 0 };
	size_t n = 0, len, next, done[3] = { 0 };
	int64_t revision = 0;
	struct diag d;
	int r = file_read(file, &text, &len);

	if (r == CLI_OK && len > DOC_MAX_BYTES) {
		cli_error("%s: over %u MB", file, (unsigned)(DOC_MAX_BYTES >> 20));
		return CLI_USAGE;
	}
	if (r == CLI_OK) {
		char *grown = realloc(text, len + 1);

		if (grown == NULL)
			return cli_no_memory();
		text = grown;
		r = read_lines(file, text, len, v->reason, &lines, &n);
	}
	if (r != CLI_OK)
		return r;
	if (v->ticket != NULL)
		snprintf(given.ticket, sizeof(given.ticket), "%s", v->ticket);
	if (v->expires != NULL)
		expiry_arg(v->expires, (uint64_t)time(NULL) * NSEC_PER_SEC, &given.expires_s, &d);
	for (size_t i = 0; r == CLI_OK && i < n; i = next) {
		for (next = i + 1;
		     next < n && next - i < MAX_IDS && same_decision(&lines[i], &lines[next]);
		     next++)
			;
		if (lines[i].verb != 'n')
			r = decide_lines(v->cli, &lines[i], next - i, &given, &revision);
		if (r == CLI_OK)
			done[lines[i].verb == 'y' ? 0 : lines[i].verb == 'x' ? 1 : 2] += next - i;
	}
	if (out_is_table(&v->cli->out))
		printf("%zu approved, %zu denied, %zu left", done[0], done[1], done[2]);
	if (out_is_table(&v->cli->out) && revision != 0)
		printf(", revision %" PRId64, revision);
	if (out_is_table(&v->cli->out))
		putchar('\n');
	return r;
}
