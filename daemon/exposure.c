/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exposure windows: a container of an enforced workload that was found on the daemon's return
 * without a table in its namespace had run without rules, from its program's begin, or the moment
 * that the daemon was seen last, until its rules were in force. Each is recorded in the audit log,
 * kept in the store, and listed in status.
 *
 * The window is never shorter than it was: its begin is that of the first known process, rounded
 * down, or else the last time that the workload was looked after. A table that was found changed by
 * others (tables.c) counts as none since it was read back last.
 */
#include "daemon/alert.h"
#include "daemon/controller.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/roster.h"
#include "daemon/start.h"
#include "daemon/store.h"
#include "rules/json.h"
#include "rules/timefmt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t
real_of(uint64_t mono_ns)
{
	return now_real() - MIN(now_mono() - MIN(mono_ns, now_mono()), now_real());
}

static int
exposure_add(struct controller *c, const char *workload, const char *instance, uint64_t from_ns,
    uint64_t to_ns)
{
	struct exposure e = { .from_ns = from_ns, .to_ns = to_ns };

	e.workload = strdup(workload);
	if (e.workload == NULL)
		return -ENOMEM;
	snprintf(e.instance, sizeof(e.instance), "%s", instance);
	if (c->n_exposures == CTL_MAX_EXPOSURES) {
		free(c->exposures[0].workload);
		memmove(c->exposures, c->exposures + 1, (--c->n_exposures) * sizeof(e));
	}
	c->exposures[c->n_exposures++] = e;
	return 0;
}

static void
record(struct controller *c, const struct exposure *e)
{
	char from[TIME_STRLEN], to[TIME_STRLEN], name[4 * PEER_STRLEN];
	const struct audit_record r = {
		.event = "exposure",
		.subject = json_pack("{s:o, s:o}", "workload", json_text(e->workload), "instance",
		    json_text(e->instance)),
		.after = json_pack("{s:s, s:s}", "from", time_format(e->from_ns, from), "to",
		    time_format(e->to_ns, to)),
	};

	text_escape(e->workload, strlen(e->workload), name, sizeof(name));
	log_warn(
	    "workload %s: a container ran without rules from %s to %s, while nanosegd was away",
	    name, from, to);
	audit_note(c->audit, &r);
}

void
exposure_on_ruled(struct instance *i)
{
	struct controller *c = i->ctl;
	uint64_t announced = real_of(i->announced_ns), from, to = now_real();

	if (i->exposure_judged)
		return;
	i->exposure_judged = true;
	/* A mode that was set later exposes nobody; closed is not exposed. */
	if (!i->existing || i->gated || i->is_host ||
	    (i->attached.adopted && i->tampered_ns == 0) ||
	    i->workload->mode_since_ns >= announced ||
	    (i->ns.closed_ns != 0 && i->ns.opened_ns == 0))
		return;
	from = MAX(i->workload->away_ns, i->workload->mode_since_ns);
	from = MAX(from, i->tampered_ns);
	if (i->ns.born_ns != 0)
		from = MAX(from, real_of(i->ns.born_ns));
	if (i->ns.opened_ns != 0)
		from = MAX(from, real_of(i->ns.opened_ns));
	if (from >= to || exposure_add(c, i->workload->name, instance_id(i), from, to) < 0)
		return;
	c->exposures_unsaved = MIN(c->exposures_unsaved + 1, c->n_exposures);
	record(c, &c->exposures[c->n_exposures - 1]);
	alert_raise_instance(i, ALERT_LATE_START, ALERT_ERROR,
	    "it ran without rules for %" PRIu64 " s, while nanosegd was away",
	    (uint64_t)((to - from) / NSEC_PER_SEC));
}

int
exposure_restore(struct controller *c, const struct exposure *e)
{
	return exposure_add(c, e->workload, e->instance, e->from_ns, e->to_ns);
}

int
exposure_save(struct controller *c)
{
	int r = 0;

	for (size_t k = c->n_exposures - c->exposures_unsaved; r == 0 && k < c->n_exposures; k++)
		r = store_put_exposure(c->store, &c->exposures[k]);
	return r;
}

void
exposure_free_all(struct controller *c)
{
	while (c->n_exposures > 0)
		free(c->exposures[--c->n_exposures].workload);
}
