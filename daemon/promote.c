/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Automatic segmentation by the clock: a workload that has been observed for the observation period
 * gets the edges seen so far approved and the configured mode. Time that the daemon or the workload
 * was away does not count, nor does the clock's time of day. Off by default. Edges with a flag
 * (from the host, direction not proven) are left to a person. A workload whose mode a person has
 * chosen is left alone, and so is one promoted before.
 */
#include "daemon/controller.h"
#include "daemon/log.h"

#include <string.h>

#define RETRY_NS (60 * NSEC_PER_SEC)

static bool
is_due(const struct controller *c, const struct workload *w)
{
	uint64_t period = c->config->observation_period_ns;

	if (w->mode != MODE_OBSERVE || w->auto_promoted || w->mode_reason != NULL)
		return false;
	/* To agree to another image is a person's. */
	if (workload_has_other_image(w))
		return false;
	if (w->instances == NULL || quarantine_of_workload(c, w) != NULL ||
	    !workload_selected(c, w->name))
		return false;
	return w->observed_ns >= period;
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
	struct diag d = { 0 };

	if (c->config->promote == PROMOTE_OFF || !c->scanned || c->confirm.pending ||
	    now_mono() < c->promote_retry_ns)
		return;
	for (struct workload *w = c->workloads; w != NULL; w = w->next) {
		char safe[PEER_STRLEN];
		size_t approved;
		int r;

		if (!is_due(c, w) || !is_observed(w))
			continue;
		r = segment_promote(c, w, mode, c->config->promote_direction, &d, &approved);
		if (r < 0) {
			c->promote_retry_ns = now_mono() + RETRY_NS;
			log_error("promotion, trying again in a minute: %s",
			    d.msg[0] != '\0' ? d.msg : strerror(-r));
			return;
		}
		text_escape(w->name, strlen(w->name), safe, sizeof(safe));
		log_info("workload %s: observation period over: %zu edges approved, mode %s", safe,
		    approved, mode_name(mode));
	}
}
