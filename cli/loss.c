/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/loss.h"

#include "cli/show.h"
#include "rules/util.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int64_t
of(const json_t *workload, const char *object, const char *key)
{
	return MAX(show_int(show_in(workload, object), key, 0), (int64_t)0);
}

int64_t
loss_reports(const json_t *workload)
{
	return of(workload, "loss", "packets");
}

int64_t
loss_count(const json_t *workload)
{
	return show_add(show_add(of(workload, "loss", "events"), of(workload, "loss", "forgotten")),
	    loss_reports(workload));
}

static const json_t *
sources_of(const json_t *workload)
{
	return show_in(show_in(workload, "loss"), "sources");
}

bool
loss_is_known(const json_t *workload)
{
	return loss_count(workload) > 0 || json_array_size(sources_of(workload)) > 0;
}

const char *
loss_count_text(const json_t *workload, char buf[static LOSS_COUNT_LEN])
{
	int64_t n = loss_count(workload);

	if (n == 0 && loss_is_known(workload))
		return "some";
	snprintf(buf, LOSS_COUNT_LEN, "%" PRId64, n);
	return buf;
}

const char *
loss_sources_text(const json_t *workload, char buf[static LOSS_SOURCES_LEN])
{
	const json_t *list = sources_of(workload);
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < json_array_size(list) && len + 40 < LOSS_SOURCES_LEN; i++) {
		const char *name = json_string_value(json_array_get(list, i));

		len += (size_t)snprintf(buf + len, LOSS_SOURCES_LEN - len, "%s%.32s",
		    i > 0 ? ", " : "", name != NULL ? name : "?");
	}
	return buf;
}

int64_t
loss_windows(const json_t *workload)
{
	return of(workload, "completeness", "incompleteWindows");
}

const char *
loss_windows_text(const json_t *workload, char buf[static LOSS_WINDOWS_LEN])
{
	const char *kind = show_text(show_in(workload, "completeness"), "windowKind", "window");
	int64_t n = loss_windows(workload);

	snprintf(buf, LOSS_WINDOWS_LEN, "%" PRId64 " of %" PRId64 " %.16ss may lack something", n,
	    show_add(n, of(workload, "completeness", "windows")), kind);
	return buf;
}
