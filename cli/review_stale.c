/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg review --stale: approvals that nothing used for long, that end soon, or were never used.
 */
#include "cli/client.h"
#include "cli/review.h"
#include "cli/show.h"

#include "rules/timefmt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define DAY_NS (86400 * NSEC_PER_SEC)

static const struct table_col cols[] = {
	{ "ID", 0, 0, 0 },
	{ "FROM", COL_CUT, 8, 0 },
	{ "TO", COL_CUT, 8, 0 },
	{ "PORT", COL_CUT, 8, 0 },
	{ "WHY", 0, 0, 0 },
	{ "LAST", COL_RIGHT, 0, 0 },
	{ "BY", COL_WIDE, 0, 0 },
	{ "EXPIRES", COL_WIDE | COL_EMPTY, 0, 0 },
	{ "REASON", COL_WIDE, 0, 0 },
};

static bool
time_of(const json_t *e, const char *key, uint64_t *ret)
{
	const char *text = show_text(e, key, NULL);

	return text != NULL && time_parse(text, ret) == 0;
}

/* Why the edge wants a look, or NULL. */
static const char *
stale_why(const json_t *e, uint64_t now_ns, uint64_t days)
{
	uint64_t ns;

	if (time_of(e, "expires", &ns)) {
		if (ns <= now_ns)
			return "expired";
		if (ns - now_ns < days * DAY_NS)
			return "expiring";
	}
	if (!time_of(e, "lastSeen", &ns))
		return "never seen";
	return ns < now_ns && now_ns - ns >= days * DAY_NS ? "not used" : NULL;
}

static int
print_stale(const struct cli *cli, const json_t *list, uint64_t now_ns, uint64_t days)
{
	_cleanup_(table_freep) struct table *t = NULL;
	char age[SHOW_NUMBER_LEN];
	const json_t *e;
	size_t i;
	int r = table_new(cols, ARRAY_SIZE(cols), &t);

	if (r < 0)
		return r;
	json_array_foreach(list, i, e)
	{
		table_cell(t, show_text(e, "id", "?"), COLOUR_NONE);
		show_cells_route(t, e);
		table_cell(t, show_text(e, "stale", "?"), COLOUR_YELLOW);
		table_cell(t, show_age(e, "lastSeen", now_ns, age), COLOUR_NONE);
		table_cell(t, show_text(e, "approvedBy", "-"), COLOUR_NONE);
		table_cell(t, show_text(e, "expires", "-"), COLOUR_NONE);
		table_cell(t, show_text(e, "reason", "-"), COLOUR_NONE);
	}
	if (table_rows(t) == 0) {
		printf("no approved edge is stale, by %" PRIu64 " days\n", days);
		return 0;
	}
	return out_table(&cli->out, t, stdout);
}

int
review_stale(struct cli *cli, const char *workload, uint64_t days)
{
	_cleanup_free_ char *path =
	    client_path("/v1/edges", "state", "approved", "workload", workload, (char *)NULL);
	uint64_t now_ns = (uint64_t)time(NULL) * NSEC_PER_SEC;
	json_t *edges = NULL, *list, *e;
	int r = path != NULL ? client_get(cli, path, &edges) : cli_no_memory();
	size_t i;

	if (r != CLI_OK)
		return r;
	list = json_array();
	json_array_foreach(edges, i, e)
	{
		const char *why = stale_why(e, now_ns, days);

		if (why == NULL)
			continue;
		json_object_set_new(e, "stale", json_string(why));
		json_array_append(list, e);
	}
	r = cli_printed(out_is_table(&cli->out) ? print_stale(cli, list, now_ns, days)
						: out_document(&cli->out, list));
	json_decref(list);
	json_decref(edges);
	return r;
}
