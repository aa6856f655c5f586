/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/args.h"

#include "rules/flow.h"
#include "rules/read.h"
#include "rules/timefmt.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define MAX_OPTIONS 32
#define EXPIRY_MAX (10ULL * 366 * 86400)

struct tables {
	const struct arg_option *all[MAX_OPTIONS];
	size_t n;
};

static void
tables_add(struct tables *t, const struct arg_option *list, size_t n)
{
	for (size_t i = 0; i < n && t->n < MAX_OPTIONS; i++)
		t->all[t->n++] = &list[i];
}

static const struct arg_option *
find_long(const struct tables *t, const char *name, size_t len)
{
	for (size_t i = 0; i < t->n; i++)
		if (strlen(t->all[i]->name) == len && memcmp(t->all[i]->name, name, len) == 0)
			return t->all[i];
	return NULL;
}

static const struct arg_option *
find_letter(const struct tables *t, char letter)
{
	for (size_t i = 0; i < t->n; i++)
		if (letter != 0 && t->all[i]->letter == letter)
			return t->all[i];
	return NULL;
}

static int
fail_unknown(const struct tables *t, const char *name, size_t len, struct diag *d)
{
	const char *known[MAX_OPTIONS], *near;
	char word[64], said[SHOWN_LEN];

	snprintf(word, sizeof(word), "%.*s", (int)MIN(len, sizeof(word) - 1), name);
	for (size_t i = 0; i < t->n; i++)
		known[i] = t->all[i]->name;
	near = nearest_word(word, known, t->n);
	if (near != NULL)
		diag_set(
		    d, 0, 0, "unknown option --%s, did you mean --%s?", shown(word, said), near);
	else
		diag_set(d, 0, 0, "unknown option --%s", shown(word, said));
	return -EINVAL;
}

/* One long option at argv[i]. How many arguments it took, or -EINVAL. */
static int
read_long(const struct tables *t, int argc, char **argv, int i, struct diag *d)
{
	const char *name = argv[i] + 2, *eq = strchr(name, '=');
	size_t len = eq != NULL ? (size_t)(eq - name) : strlen(name);
	const struct arg_option *o = find_long(t, name, len);

	if (o == NULL)
		return fail_unknown(t, name, len, d);
	if (o->flag != NULL) {
		if (eq != NULL) {
			diag_set(d, 0, 0, "--%s takes no value", o->name);
			return -EINVAL;
		}
		*o->flag = true;
		return 1;
	}
	if (eq == NULL && i + 1 >= argc) {
		diag_set(d, 0, 0, "--%s needs a value", o->name);
		return -EINVAL;
	}
	*o->value = eq != NULL ? eq + 1 : argv[i + 1];
	return eq != NULL ? 1 : 2;
}

/* A cluster of letters, the last of which may have its value attached or behind it. */
static int
read_short(const struct tables *t, int argc, char **argv, int i, struct diag *d)
{
	for (const char *p = argv[i] + 1; *p != '\0'; p++) {
		const struct arg_option *o = find_letter(t, *p);
		char word[2] = { *p, '\0' }, said[SHOWN_LEN];

		if (o == NULL) {
			diag_set(d, 0, 0, "unknown option -%s", shown(word, said));
			return -EINVAL;
		}
		if (o->flag != NULL) {
			*o->flag = true;
			continue;
		}
		if (p[1] == '\0' && i + 1 >= argc) {
			diag_set(d, 0, 0, "-%c needs a value", *p);
			return -EINVAL;
		}
		*o->value = p[1] != '\0' ? p + 1 : argv[i + 1];
		return p[1] != '\0' ? 1 : 2;
	}
	return 1;
}

static bool
is_option(const char *arg)
{
	return arg[0] == '-' && arg[1] != '\0';
}

static int
read_one(const struct tables *t, int argc, char **argv, int i, struct diag *d)
{
	return argv[i][1] == '-' ? read_long(t, argc, argv, i, d) : read_short(t, argc, argv, i, d);
}

int
args_read(const struct arg_option *a, size_t n_a, const struct arg_option *b, size_t n_b, int argc,
    char **argv, struct diag *d)
{
	struct tables t = { .n = 0 };
	int kept = 0, i = 0;

	tables_add(&t, a, n_a);
	tables_add(&t, b, n_b);
	while (i < argc) {
		int used = 1;

		if (strcmp(argv[i], "--") == 0) {
			for (i++; i < argc; i++)
				argv[kept++] = argv[i];
			break;
		}
		if (is_option(argv[i]))
			used = read_one(&t, argc, argv, i, d);
		else
			argv[kept++] = argv[i];
		if (used < 0)
			return used;
		i += used;
	}
	return kept;
}

int
args_read_global(
    const struct arg_option *a, size_t n_a, int argc, char **argv, struct diag *d, int *ret_next)
{
	struct tables t = { .n = 0 };
	int i = 0;

	tables_add(&t, a, n_a);
	while (i < argc && is_option(argv[i])) {
		int used = strcmp(argv[i], "--") != 0 ? read_one(&t, argc, argv, i, d) : 0;

		if (used < 0)
			return used;
		if (used == 0) {
			i++;
			break;
		}
		i += used;
	}
	*ret_next = i;
	return 0;
}

int
number_arg(const char *what, const char *text, uint64_t max, uint64_t *ret, struct diag *d)
{
	char said[SHOWN_LEN];
	uint64_t v = 0;
	size_t n = strspn(text, "0123456789");

	for (size_t i = 0; i < n && v <= max; i++)
		v = v > (UINT64_MAX - 9) / 10 ? UINT64_MAX : v * 10 + (uint64_t)(text[i] - '0');
	if (n == 0 || text[n] != '\0' || v > max) {
		diag_set(d, 0, 0, "%s: expected a number up to %llu, not '%s'", what,
		    (unsigned long long)max, shown(text, said));
		return -EINVAL;
	}
	*ret = v;
	return 0;
}

int
text_arg(const char *what, const char *text, size_t max, struct diag *d)
{
	size_t len = strlen(text);

	if (len == 0)
		diag_set(d, 0, 0, "%s: expected a text, not an empty one", what);
	else if (len > max)
		diag_set(d, 0, 0, "%s: at most %zu bytes", what, max);
	else if (!text_is_utf8(text, len))
		diag_set(d, 0, 0, "%s: not valid UTF-8", what);
	else
		return 0;
	return -EINVAL;
}

int
peer_arg(const char *text, struct diag *d)
{
	char name[PEER_STRLEN], said[SHOWN_LEN];
	struct peer p;

	if (peer_parse(text, name, &p) < 0) {
		diag_set(d, 0, 0,
		    "'%s' is neither a workload nor host, internet, multicast, an address or a "
		    "prefix",
		    shown(text, said));
		return -EINVAL;
	}
	if (!text_is_utf8(text, strlen(text))) {
		diag_set(d, 0, 0,
		    "'%s' is not valid UTF-8: such a name can only be given in a policy file",
		    shown(text, said));
		return -EINVAL;
	}
	return 0;
}

int
workload_arg(const char *text, const char **ret, struct diag *d)
{
	static const char head[] = "workload:";
	char name[PEER_STRLEN], said[SHOWN_LEN];
	struct peer p;

	if (peer_arg(text, d) < 0)
		return -EINVAL;
	peer_parse(text, name, &p);
	if (p.kind != PEER_WORKLOAD) {
		diag_set(d, 0, 0,
		    "'%s' is not a workload; one with that name is written workload:%s",
		    shown(text, said), said);
		return -EINVAL;
	}
	*ret = strncmp(text, head, sizeof(head) - 1) == 0 ? text + sizeof(head) - 1 : text;
	return 0;
}

int
moment_arg(const char *what, const char *text, uint64_t now_ns, uint64_t *ret_ns, struct diag *d)
{
	uint64_t ns;

	if (duration_parse(text, &ns) == 0 && ns <= now_ns) {
		*ret_ns = now_ns - ns;
		return 0;
	}
	if (time_parse(text, ret_ns) == 0)
		return 0;
	diag_set(d, 0, 0, "%s: expected a duration (7d) or a time (2027-12-31T12:00:00Z)", what);
	return -EINVAL;
}

int
expiry_arg(const char *text, uint64_t now_ns, uint64_t *ret_seconds, struct diag *d)
{
	char said[SHOWN_LEN];
	uint64_t ns;

	if (duration_parse(text, &ns) < 0) {
		if (time_parse(text, &ns) < 0) {
			diag_set(d, 0, 0,
			    "--expires: expected a duration such as 12h or 30d, or a time such as "
			    "2027-12-31T12:00:00Z, not '%s'",
			    shown(text, said));
			return -EINVAL;
		}
		ns = ns > now_ns ? ns - now_ns : 0;
	}
	if (ns < NSEC_PER_SEC || ns / NSEC_PER_SEC > EXPIRY_MAX) {
		diag_set(d, 0, 0, "--expires: '%s' is not between a second and ten years from now",
		    shown(text, said));
		return -EINVAL;
	}
	*ret_seconds = ns / NSEC_PER_SEC;
	return 0;
}

/* Takes the peer out of its brackets, if it has any, and checks it. */
static int
target_peer(const char *text, size_t len, struct target *t, struct diag *d)
{
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len == 0 || len >= sizeof(t->peer)) {
		diag_set(d, 0, 0, "expected a destination before the port");
		return -EINVAL;
	}
	memcpy(t->peer, text, len);
	t->peer[len] = '\0';
	return peer_arg(t->peer, d);
}

static int
target_proto(const char *text, struct target *t, struct diag *d)
{
	char said[SHOWN_LEN];
	int p = proto_parse(text);

	if (p < 0) {
		diag_set(d, 0, 0, "unknown protocol '%s', expected tcp, udp, sctp, icmp or icmpv6",
		    shown(text, said));
		return -EINVAL;
	}
	t->proto = proto_name((uint8_t)p);
	return 0;
}

int
target_parse(const char *text, struct target *ret, struct diag *d)
{
	const char *colon = strrchr(text, ':'), *slash;
	struct target t = { .proto = "tcp" };
	char number[16], said[SHOWN_LEN];
	struct addr whole;
	uint64_t port;
	bool icmp;

	if (colon == NULL) {
		diag_set(d, 0, 0, "'%s': expected DESTINATION:PORT[/PROTOCOL]", shown(text, said));
		return -EINVAL;
	}
	if (addr_parse(text, &whole) == 0) {
		diag_set(d, 0, 0, "'%s' is an address without a port, expected [%s]:PORT",
		    shown(text, said), text);
		return -EINVAL;
	}
	slash = strchr(colon, '/');
	if (slash != NULL && target_proto(slash + 1, &t, d) < 0)
		return -EINVAL;
	icmp = strncmp(t.proto, "icmp", 4) == 0;
	snprintf(number, sizeof(number), "%.*s",
	    (int)(slash != NULL ? MIN(slash - colon - 1, 15) : 15), colon + 1);
	if (number_arg(icmp ? "the ICMP type" : "the port", number, icmp ? 255 : 65535, &port, d) <
	    0)
		return -EINVAL;
	if (port == 0 && !icmp) {
		diag_set(d, 0, 0, "the port: expected a number from 1 to 65535");
		return -EINVAL;
	}
	t.port = (unsigned)port;
	if (target_peer(text, (size_t)(colon - text), &t, d) < 0)
		return -EINVAL;
	*ret = t;
	return 0;
}
