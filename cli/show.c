/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/show.h"

#include "rules/edge.h"
#include "rules/timefmt.h"

#include <inttypes.h>
#include <string.h>

static const struct {
	uint32_t flag;
	char letter;
} flag_letters[] = {
	{ EDGE_FLAG_VIA_HOST, 'v' },
	{ EDGE_FLAG_MIDSTREAM, 'm' },
	{ EDGE_FLAG_ONE_WAY, 'o' },
	{ EDGE_FLAG_IMAGE_CHANGED, 'i' },
	{ EDGE_FLAG_AUTO, 'a' },
	{ EDGE_FLAG_WITHDRAWN, 'w' },
	{ EDGE_FLAG_GENERALISED, 'g' },
	{ EDGE_FLAG_ONE_END, 'e' },
};

const char *
show_text(const json_t *o, const char *key, const char *fallback)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : fallback;
}

int64_t
show_int(const json_t *o, const char *key, int64_t fallback)
{
	const json_t *v = json_object_get(o, key);

	return json_is_integer(v) ? json_integer_value(v) : fallback;
}

int64_t
show_add(int64_t a, int64_t b)
{
	int64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

const json_t *
show_in(const json_t *o, const char *key)
{
	return json_object_get(o, key);
}

bool
show_has(const json_t *list, const char *text)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *one = json_string_value(json_array_get(list, i));

		if (one != NULL && strcmp(one, text) == 0)
			return true;
	}
	return false;
}

json_t *
show_sorted(const json_t *list, int (*compare)(const void *, const void *))
{
	size_t n = json_array_size(list);
	_cleanup_free_ json_t **items = calloc(n + 1, sizeof(*items));
	json_t *ret = json_array();

	if (items == NULL || ret == NULL) {
		json_decref(ret);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		items[i] = json_array_get(list, i);
	qsort(items, n, sizeof(*items), compare);
	for (size_t i = 0; i < n; i++)
		json_array_append(ret, items[i]);
	return ret;
}

const char *
show_workload(const char *peer)
{
	static const char head[] = "workload:";

	return strncmp(peer, head, sizeof(head) - 1) == 0 ? peer + sizeof(head) - 1 : NULL;
}

const char *
show_peer(const char *peer)
{
	const char *workload = show_workload(peer);
	char name[PEER_STRLEN];
	struct peer p;

	if (workload == NULL || peer_parse(workload, name, &p) < 0 || p.kind != PEER_WORKLOAD ||
	    strcmp(p.name, workload) != 0)
		return peer;
	return workload;
}

const char *
show_behind(const json_t *o, char buf[static SHOW_BEHIND_LEN])
{
	const char *one = show_text(o, "behind", NULL), *each;
	const json_t *list = show_in(o, "behindAnyOf"), *e;
	size_t i, len = 0;

	snprintf(buf, SHOW_BEHIND_LEN, "%s", one != NULL ? show_peer(one) : "-");
	json_array_foreach(list, i, e)
	{
		each = json_string_value(e);
		if (each == NULL || len >= SHOW_BEHIND_LEN)
			continue;
		len += (size_t)snprintf(buf + len, SHOW_BEHIND_LEN - len, "%s%s",
		    len > 0 ? " or " : "", show_peer(each));
	}
	return buf;
}

const char *
show_port(const json_t *o, char buf[static SHOW_PORT_LEN])
{
	const char *proto = show_text(o, "proto", "?"), *ports = show_text(o, "ports", NULL);
	int64_t port = show_int(o, "port", -1), type = show_int(o, "type", -1);
	int64_t code = show_int(o, "code", 0);

	if (ports != NULL)
		snprintf(buf, SHOW_PORT_LEN, "%.20s/%.20s", proto, ports);
	else if (port >= 0)
		snprintf(buf, SHOW_PORT_LEN, "%.20s/%" PRId64, proto, port);
	else if (type >= 0 && code != 0)
		snprintf(buf, SHOW_PORT_LEN, "%.20s/%" PRId64 ".%" PRId64, proto, type, code);
	else if (type >= 0)
		snprintf(buf, SHOW_PORT_LEN, "%.20s/%" PRId64, proto, type);
	else
		snprintf(buf, SHOW_PORT_LEN, "%.20s/?", proto);
	return buf;
}

void
show_cells_route(struct table *t, const json_t *o)
{
	char port[SHOW_PORT_LEN];

	table_cell(t, show_peer(show_text(o, "from", "?")), COLOUR_NONE);
	table_cell(t, show_peer(show_text(o, "to", "?")), COLOUR_NONE);
	table_cell(t, show_port(o, port), COLOUR_NONE);
}

const char *
show_number(int64_t n, char buf[static SHOW_NUMBER_LEN])
{
	char digits[24];
	size_t len, at = 0;

	snprintf(digits, sizeof(digits), "%" PRIu64, n < 0 ? 0 - (uint64_t)n : (uint64_t)n);
	len = strlen(digits);
	if (n < 0)
		buf[at++] = '-';
	for (size_t i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			buf[at++] = ',';
		buf[at++] = digits[i];
	}
	buf[at] = '\0';
	return buf;
}

const char *
show_bytes(int64_t n, char buf[static SHOW_NUMBER_LEN])
{
	static const char units[] = "KMGTPE";
	double v = (double)n;
	size_t u = 0;

	if (n < 0) {
		snprintf(buf, SHOW_NUMBER_LEN, "-");
		return buf;
	}
	if (n < 1024) {
		snprintf(buf, SHOW_NUMBER_LEN, "%" PRId64 "B", n);
		return buf;
	}
	for (v /= 1024; v >= 999.95 && u < 5; v /= 1024)
		u++;
	snprintf(buf, SHOW_NUMBER_LEN, "%.1f%c", v, units[u]);
	return buf;
}

const char *
show_age(const json_t *o, const char *key, uint64_t now_ns, char buf[static SHOW_NUMBER_LEN])
{
	static const struct {
		uint64_t seconds;
		char unit;
	} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };
	const char *text = show_text(o, key, NULL);
	uint64_t ns, s;
	size_t i = 0;

	if (text == NULL || time_parse(text, &ns) < 0) {
		snprintf(buf, SHOW_NUMBER_LEN, "-");
		return buf;
	}
	s = ns < now_ns ? (now_ns - ns) / NSEC_PER_SEC : 0;
	while (i + 1 < ARRAY_SIZE(units) && s < units[i].seconds)
		i++;
	snprintf(buf, SHOW_NUMBER_LEN, "%" PRIu64 "%c", s / units[i].seconds, units[i].unit);
	return buf;
}

static char
flag_letter(const char *name)
{
	for (size_t i = 0; name != NULL && i < ARRAY_SIZE(flag_letters); i++)
		if (strcmp(edge_flag_name(flag_letters[i].flag), name) == 0)
			return flag_letters[i].letter;
	return '?';
}

const char *
show_flags(const json_t *flags, char buf[static SHOW_FLAGS_LEN])
{
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(flags) && n + 1 < SHOW_FLAGS_LEN; i++) {
		char letter = flag_letter(json_string_value(json_array_get(flags, i)));

		if (memchr(buf, letter, n) == NULL)
			buf[n++] = letter;
	}
	buf[n] = '\0';
	return buf;
}

void
show_flags_collect(const char *flags, char letters[static SHOW_FLAGS_LEN])
{
	size_t n = strlen(letters);

	for (const char *p = flags; *p != '\0' && n + 1 < SHOW_FLAGS_LEN; p++)
		if (strchr(letters, *p) == NULL) {
			letters[n++] = *p;
			letters[n] = '\0';
		}
}

const char *
show_flags_legend(const char *letters, char buf[static SHOW_LEGEND_LEN])
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(flag_letters); i++) {
		if (strchr(letters, flag_letters[i].letter) == NULL)
			continue;
		len += (size_t)snprintf(buf + len, SHOW_LEGEND_LEN - len, "%s%c %s",
		    len > 0 ? ", " : "", flag_letters[i].letter,
		    edge_flag_name(flag_letters[i].flag));
	}
	if (strchr(letters, '?') != NULL)
		snprintf(buf + len, SHOW_LEGEND_LEN - len, "%s? unknown here", len > 0 ? ", " : "");
	return buf;
}

size_t
show_unapproved(const json_t *instance)
{
	const json_t *members = show_in(instance, "members");
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(members); i++)
		n += json_is_false(show_in(json_array_get(members, i), "imageApproved"));
	return n != 0 ? n : json_is_false(show_in(instance, "imageApproved"));
}

enum colour
show_state_colour(const char *state)
{
	return strcmp(state, "approved") == 0  ? COLOUR_GREEN
	       : strcmp(state, "denied") == 0  ? COLOUR_RED
	       : strcmp(state, "pending") == 0 ? COLOUR_YELLOW
					       : COLOUR_NONE;
}

enum colour
show_verdict_colour(const char *verdict)
{
	return strcmp(verdict, "deny") == 0    ? COLOUR_RED
	       : strcmp(verdict, "audit") == 0 ? COLOUR_YELLOW
	       : strcmp(verdict, "allow") == 0 ? COLOUR_GREEN
					       : COLOUR_NONE;
}

enum colour
show_mode_colour(const char *mode)
{
	return strcmp(mode, "enforce") == 0 ? COLOUR_GREEN
	       : strcmp(mode, "audit") == 0 ? COLOUR_YELLOW
					    : COLOUR_NONE;
}
