/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Automatic segmentation by the clock: a workload that has been observed for the observation period
 * gets the edges seen so far approved and the configured mode. Off by default. Edges with a flag
 * (from the host, direction not proven) are left to a person. A workload whose mode a person has
 * chosen is left alone, and so is one promoted before.
 */
#include "daemon/controller.h"
#include "daemon/log.h"

#include <string.h>

static bool
is_due(const struct controller *c, const struct workload *w, uint64_t now)
{
	uint64_t period = c->config->observation_period_ns;

	if (w->mode != MODE_OBSERVE || w->auto_promoted || w->mode_reason != NULL)
		return false;
	if (w->instances == NULL || !workload_selected(c, w->name))
		return false;
	return w->first_seen_ns != 0 && now >= w->first_seen_ns + period;
}

static bool
is_observed(const struct workload *w)
{
	for (const struct instance *i = w->instances; i != NULL; i = i->next_of_workload)
		if (i->attach != ATTACH_DONE)
			return false;
	return true;
}

void
promote_tick(struct controller *c)
{
	enum wl_mode mode = c->config->promote == PROMOTE_ENFORCE ? MODE_ENFORCE : MODE_AUDIT;
	uint64_t now = now_real();

	if (c->config->promote == PROMOTE_OFF || !c->scanned)
		return;
	for (struct workload *w = c->workloads; w != NULL; w = w->next) {
		char safe[PEER_STRLEN];
		size_t approved;

		if (!is_due(c, w, now) || !is_observed(w))
			continue;
		if (segment_promote(c, w, mode, c->config->promote_direction, &approved) < 0)
			return;
		text_escape(w->name, strlen(w->name), safe, sizeof(safe));
		log_info("workload %s: observation period over: %zu edges approved, mode %s", safe,
		    approved, mode_name(mode));
	}
}
