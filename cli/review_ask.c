/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions on a terminal in its ordinary mode, a line an answer: nothing has to be put back when
 * the user stops it. What cannot be is said and asked again; the end of the input is the end.
 */
#include "cli/review.h"

#include "rules/util.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

bool
ask_line(const char *prompt, char buf[static ASK_LEN])
{
	size_t len;
	int c;

	for (;;) {
		fputs(prompt, stdout);
		fflush(stdout);
		if (fgets(buf, ASK_LEN, stdin) == NULL) {
			putchar('\n');
			return false;
		}
		len = strlen(buf);
		if (len > 0 && buf[len - 1] == '\n') {
			buf[len - 1] = '\0';
			return true;
		}
		if (feof(stdin))
			return len > 0;
		while ((c = getchar()) != EOF && c != '\n')
			;
		puts("That is too long.");
	}
}

/* The answer without blanks around it. */
static char *
trimmed(char *text)
{
	size_t len;

	text += strspn(text, " \t\r");
	len = strlen(text);
	while (len > 0 && strchr(" \t\r", text[len - 1]) != NULL)
		text[--len] = '\0';
	return text;
}

bool
ask_letter(const char *prompt, const char *letters, char *ret)
{
	char buf[ASK_LEN], *answer;

	for (;;) {
		if (!ask_line(prompt, buf))
			return false;
		answer = trimmed(buf);
		if (strlen(answer) == 1 && strchr(letters, answer[0]) != NULL) {
			*ret = answer[0];
			return true;
		}
		printf("Answer with one of: %s\n", letters);
	}
}

static bool
ask_text(const char *prompt, bool needed, char ret[static ASK_LEN])
{
	char buf[ASK_LEN], *answer;
	struct diag d;

	for (;;) {
		if (!ask_line(prompt, buf))
			return false;
		answer = trimmed(buf);
		if (answer[0] == '\0' && !needed)
			break;
		if (text_arg(needed ? "the reason" : "the ticket", answer, EDGE_REASON_MAX, &d) ==
		    0)
			break;
		puts(d.msg);
	}
	memmove(ret, answer, strlen(answer) + 1);
	return true;
}

static bool
ask_expiry(uint64_t *ret)
{
	char buf[ASK_LEN], *answer;
	struct diag d;

	for (;;) {
		if (!ask_line("  Expires (30d, a date; Enter: never): ", buf))
			return false;
		answer = trimmed(buf);
		*ret = 0;
		if (answer[0] == '\0' ||
		    expiry_arg(answer, (uint64_t)time(NULL) * NSEC_PER_SEC, ret, &d) == 0)
			return true;
		puts("Expected a duration such as 30d or 12h, or a date such as 2027-12-31.");
	}
}

bool
ask_why(const struct review *v, const char *verb, struct review_why *w)
{
	struct diag d;
	char prompt[64];

	if (w->known)
		return true;
	memset(w, 0, sizeof(*w));
	snprintf(prompt, sizeof(prompt), "  Why %s? (needed) ", verb);
	if (v->reason != NULL)
		snprintf(w->reason, sizeof(w->reason), "%s", v->reason);
	else if (!ask_text(prompt, true, w->reason))
		return false;
	/* A reason on the command line: the other two stand there too, or are not wanted. */
	if (v->ticket != NULL)
		snprintf(w->ticket, sizeof(w->ticket), "%s", v->ticket);
	else if (v->reason == NULL && !ask_text("  Ticket (Enter: none): ", false, w->ticket))
		return false;
	if (v->expires != NULL) {
		if (expiry_arg(v->expires, (uint64_t)time(NULL) * NSEC_PER_SEC, &w->expires_s, &d) <
		    0)
			return false;
	} else if (v->reason == NULL && !v->never_expires && !ask_expiry(&w->expires_s)) {
		return false;
	}
	w->known = true;
	return true;
}
