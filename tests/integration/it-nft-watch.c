/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is told of which change of a table: of ours and of guards named after it, by name. */
#include "netlink/netns.h"
#include "netlink/nft.h"
#include "netlink/nft_watch.h"
#include "rules/util.h"
#include "tests/integration/nslib.h"

#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define TABLE "nanoseg_w"
#define WAIT_MS 5000

static int ns = -1, watch = -1, own = -1;
static uint32_t port;
static struct nft_change change;

struct told {
	char names[1024];
	bool changed, lost;
};

static void
on_name(void *arg, const char *name)
{
	struct told *t = arg;
	size_t len = strlen(t->names);

	snprintf(t->names + len, sizeof(t->names) - len, "%s ", name);
}

/* All that has been said: a transaction's messages are there when its sender has its answer. */
static void
read_all(struct told *ret)
{
	struct pollfd p = { .fd = watch, .events = POLLIN };
	int wait_ms = WAIT_MS;

	*ret = (struct told){ .changed = false };
	while (poll(&p, 1, wait_ms) > 0) {
		int r = nft_watch_read(watch, TABLE, port, on_name, ret, &change);

		wait_ms = 0;
		if (r < 0)
			return;
		if (r == 0)
			continue;
		ret->changed = true;
		ret->lost |= change.lost;
		change = (struct nft_change){ 0 };
	}
}

static void
expect(const char *what, const char *script, const char *names)
{
	struct told t;

	ns_nft(ns, script);
	read_all(&t);
	if (!tap_ok(t.changed == (*names != '\0') && strcmp(t.names, names) == 0 && !t.lost,
		"%s: \"%s\"", what, names))
		tap_note("told \"%s\", lost %d", t.names, t.lost);
}

static void
by_others(void)
{
	expect("a table of ours", "add table inet " TABLE, TABLE " ");
	expect("one of another name", "add table inet other; add table inet nanoseg_w2", "");
	expect("one whose name begins like it", "add table inet nanoseg_", "");
	expect("what is in a guard",
	    "add table netdev " TABLE "_1f; add chain netdev " TABLE "_1f c; "
	    "add rule netdev " TABLE "_1f c accept",
	    TABLE "_1f ");
	expect("two guards in one transaction",
	    "add chain netdev " TABLE "_1f d; add table netdev " TABLE "_20; "
	    "add table inet foreign",
	    TABLE "_1f " TABLE "_20 ");
	expect("a name too long to be ours",
	    "add table inet " TABLE "_0123456789012345678901234567890123456789", "");
	expect("all of them at once", "flush ruleset", TABLE " " TABLE "_1f " TABLE "_20 ");
}

static void
by_ourselves(void)
{
	struct nft_table *t = NULL;
	struct told told;
	bool owned;
	int r = nft_table_new(own, TABLE, 1, &t);

	if (r == 0)
		r = nft_table_apply(t, NULL, &owned);
	read_all(&told);
	tap_ok(r == 0 && !told.changed && *told.names == '\0', "what we do ourselves is none");
	nft_table_delete(t);
	nft_table_free(t);
	read_all(&told);
}

/* More than the socket holds, and nobody reads meanwhile. */
static void
lost(void)
{
	static char script[1 << 20];
	struct told t;
	size_t len = 0;

	for (unsigned i = 0; i < 4000; i++)
		len += (size_t)snprintf(script + len, sizeof(script) - len,
		    "add chain inet other c%u { comment \"%0100u\"; }\n", i, i);
	ns_nft(ns, "add table inet other");
	ns_nft(ns, script);
	read_all(&t);
	tap_ok(t.changed && t.lost, "messages that were lost may have been about any table");
}

int
main(void)
{
	struct sockaddr_nl sa = { 0 };
	socklen_t len = sizeof(sa);

	ns_start();
	ns = ns_new();
	watch = nft_watch_open(ns);
	own = netns_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	if (!tap_ok(
		watch >= 0 && own >= 0 &&
		    bind(own, (struct sockaddr *)&(struct sockaddr_nl){ .nl_family = AF_NETLINK },
			sizeof(sa)) == 0 &&
		    getsockname(own, (struct sockaddr *)&sa, &len) == 0,
		"sockets"))
		return tap_end();
	port = sa.nl_pid;
	by_others();
	by_ourselves();
	lost();
	return tap_end();
}
