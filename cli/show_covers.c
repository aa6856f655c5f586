/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an edge covers beyond the evidence, in words. */
#include "cli/show.h"

#include "rules/peer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct text {
	char *buf;
	size_t len;
};

static void put(struct text *t, const char *format, ...) _printf_(2, 3);

static void
put(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->buf + t->len, SHOW_COVERS_LEN - t->len, format, args);
	va_end(args);
	if (n > 0)
		t->len = MIN(t->len + (size_t)n, (size_t)SHOW_COVERS_LEN - 1);
}

static void
put_ports(struct text *t, const json_t *covers)
{
	int64_t ports = show_int(covers, "ports", 1), seen = show_int(covers, "portsSeen", -1);
	char number[SHOW_NUMBER_LEN];

	if (ports <= 1)
		return;
	put(t, "%s ports", show_number(ports, number));
	if (seen >= 0)
		put(t, ", %s seen", show_number(seen, number));
}

/* The end that stands for more than was seen, as json_edge() chooses it. */
static const char *
wide_end(const json_t *o, char name[static PEER_STRLEN], struct peer *ret)
{
	static const char *const ends[] = { "to", "from" };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		const char *text = show_text(o, ends[i], "");

		if (peer_parse(text, name, ret) == 0 && peer_is_wide(ret))
			return text;
	}
	return NULL;
}

static void
put_peer(struct text *t, const struct peer *p, const json_t *covers)
{
	int64_t seen = show_int(covers, "addressesSeen", -1);
	char number[SHOW_NUMBER_LEN];
	const json_t *list = show_in(covers, "prefixesSeen"), *one;
	size_t i;

	if (t->len > 0)
		put(t, "; ");
	if (p->kind == PEER_CIDR)
		put(t, "a /%u", p->prefix.len);
	else
		put(t, "%s",
		    p->kind == PEER_INTERNET ? "the internet"
		    : p->kind == PEER_FQDN   ? "all that the name leads to"
					     : "a network");
	if (seen < 0)
		return;
	put(t, ", %s address%s seen", show_number(seen, number), seen == 1 ? "" : "es");
	if (p->kind == PEER_CIDR)
		return;
	json_array_foreach(list, i, one)
	{
		const char *prefix = json_string_value(one);

		put(t, "%s%.49s", i == 0 ? " in " : ", ", prefix != NULL ? prefix : "?");
	}
}

/* Of a workload at either end: a name stands for whoever has it later. */
static void
put_instances(struct text *t, const json_t *covers)
{
	int64_t seen = show_int(covers, "instancesSeen", -1);
	char number[SHOW_NUMBER_LEN];

	if (seen < 0)
		return;
	put(t, "%sany later instance, %s seen", t->len > 0 ? "; " : "",
	    seen == 0 ? "none" : show_number(seen, number));
}

const char *
show_covers(const json_t *o, char buf[static SHOW_COVERS_LEN])
{
	const json_t *covers = show_in(o, "covers");
	struct text t = { .buf = buf };
	char name[PEER_STRLEN];
	struct peer p;

	buf[0] = '\0';
	if (json_is_object(covers)) {
		put_ports(&t, covers);
		if (wide_end(o, name, &p) != NULL)
			put_peer(&t, &p, covers);
		put_instances(&t, covers);
	}
	if (t.len == 0)
		put(&t, "-");
	return buf;
}

const char *
show_seen_as(const json_t *o, char buf[static SHOW_SEEN_AS_LEN])
{
	const json_t *list = show_in(o, "seenAs"), *one;
	size_t i, len = 0;

	snprintf(buf, SHOW_SEEN_AS_LEN, "-");
	json_array_foreach(list, i, one) if (len < SHOW_SEEN_AS_LEN) len +=
	    (size_t)snprintf(buf + len, SHOW_SEEN_AS_LEN - len, "%s%.8s %.253s", i > 0 ? ", " : "",
		show_text(one, "by", "?"), show_text(one, "name", "?"));
	if (len < SHOW_SEEN_AS_LEN && json_is_true(show_in(o, "seenAsMore")))
		snprintf(buf + len, SHOW_SEEN_AS_LEN - len, ", more");
	return buf;
}
