/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Short texts of command lines and of the API: addresses, peers, durations, times, targets, names
 * of edges, signatures. What one parser takes it takes again, and as the same, from its own print.
 */
#include "cli/args.h"
#include "rules/addr.h"
#include "rules/edge.h"
#include "rules/peer.h"
#include "rules/sign.h"
#include "rules/timefmt.h"
#include "rules/util.h"
#include "rules/workload.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool ok)
{
	if (!ok)
		abort();
}

static void
addresses(const char *text)
{
	char buf[PREFIX_STRLEN];
	struct addr a, a2;
	struct prefix p, p2;

	if (addr_parse(text, &a) == 0)
		require(addr_parse(addr_format(&a, buf), &a2) == 0 && addr_eq(&a, &a2));
	if (prefix_parse(text, &p) == 0)
		require(prefix_parse(prefix_format(&p, buf), &p2) == 0 &&
			memcmp(&p, &p2, sizeof(p)) == 0);
}

static void
peers(const char *text)
{
	char name[PEER_STRLEN], name2[PEER_STRLEN], buf[PEER_STRLEN], buf2[PEER_STRLEN];
	struct peer p, p2;

	if (peer_parse(text, name, &p) < 0)
		return;
	require(peer_parse(peer_format(&p, buf), name2, &p2) == 0 && peer_eq(&p, &p2));
	require(strcmp(buf, peer_format(&p2, buf2)) == 0);
}

static void
times(const char *text)
{
	char duration[DURATION_STRLEN], time[TIME_STRLEN];
	uint64_t ns, again;

	if (duration_parse(text, &ns) == 0)
		require(duration_parse(duration_format(ns, duration), &again) == 0 && again == ns);
	if (time_parse(text, &ns) == 0)
		require(time_parse(time_format(ns, time), &again) == 0 && again == ns);
}

static void
arguments(const char *text)
{
	uint64_t id, n;
	const char *name;
	uint8_t key[32];
	struct target t;
	struct diag d;

	if (target_parse(text, &t, &d) == 0)
		require(t.port <= 65535 && t.proto != NULL);
	workload_arg(text, &name, &d);
	peer_arg(text, &d);
	expiry_arg(text, 0, &n, &d);
	moment_arg("since", text, UINT64_C(1800000000) * NSEC_PER_SEC, &n, &d);
	if (number_arg("max", text, 1000, &n, &d) == 0)
		require(n <= 1000);
	if (text_arg("reason", text, 200, &d) == 0)
		require(strlen(text) <= 200 && text_is_utf8(text, strlen(text)));
	edge_id_parse(text, &id);
	edge_state_parse(text);
	sign_parse_hex(text, key, sizeof(key));
}

/* The same length however little room there is, and nothing a terminal acts on. */
static void
escapes(const char *text, size_t len, const char *copy)
{
	char part[64], small[8];
	_cleanup_free_ char *whole = NULL;
	size_t need = text_escape(text, len, small, sizeof(small));

	whole = malloc(need + 1);
	if (whole == NULL)
		return;
	require(text_escape(text, len, whole, need + 1) == need && strlen(whole) == need);
	require(strncmp(whole, small, strlen(small)) == 0);
	require(text_is_utf8(whole, need));
	for (size_t i = 0; i < need; i++)
		require((uint8_t)whole[i] >= 0x20 && whole[i] != 0x7f);
	workload_escape_part(copy, part, sizeof(part) - 1);
	require(memchr(part, '\0', sizeof(part)) != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = strndup((const char *)data, size);

	if (text == NULL)
		return 0;
	addresses(text);
	peers(text);
	times(text);
	arguments(text);
	escapes((const char *)data, size, text);
	return 0;
}
