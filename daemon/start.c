/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How an instance was started: how long before its program began it was held (gated or closed), or
 * by how much that came late. Everything here is a bound on the careful side: the lead is never
 * more than it was, and the delay never less, for the program's begin is itself known as "not
 * before" (w_netns.began_ns).
 *
 * What counts as held: gated, its rules; closed, the closing; otherwise its first rules if its
 * workload was enforced when it came, or else the moment from which it was observed.
 */
#include "daemon/alert.h"
#include "daemon/controller.h"
#include "daemon/instance.h"
#include "daemon/quarantine.h"
#include "daemon/roster.h"
#include "daemon/start.h"

#include <inttypes.h>

const char *
start_kind_name(enum start_kind kind)
{
	static const char *const names[START_KINDS] = {
		[START_GATED] = "gated",
		[START_CLOSED] = "closed",
		[START_LATE] = "late",
		[START_EXISTING] = "existing",
	};

	return names[kind];
}

struct start
start_of(const struct instance *i)
{
	struct start s = { .kind = START_LATE, .held_real_ns = i->held_ns };
	uint64_t held = i->ns.closed_ns;

	if (i->gated)
		return (struct start){ START_GATED, true, i->gate_lead_ns, i->held_ns };
	if (held == 0 && i->existing)
		return (struct start){ .kind = START_EXISTING };
	if (held == 0)
		held = i->ruled_ns != 0 ? i->ruled_ns : i->attached_ns;
	s.known = held != 0 && i->ns.began_ns != 0;
	if (s.known)
		s.lead_ns = (int64_t)(i->ns.began_ns - held);
	if ((i->ns.closed_ns != 0 || i->ruled_ns != 0) && s.lead_ns >= 0)
		s.kind = START_CLOSED;
	else
		s.lead_ns = MIN(s.lead_ns, 0);
	return s;
}

void
start_on_netns(struct instance *i)
{
	uint64_t mono, real, at;

	if (i->ns.closed_ns == 0 || i->gated)
		return;
	/* In this order: whatever comes between the two makes it earlier, not later. */
	real = now_real();
	mono = now_mono();
	at = real - MIN(mono - MIN(i->ns.closed_ns, mono), real);
	/* Attached before the warden's word of its closing was here? */
	i->held_ns = i->held_ns == 0 ? at : MIN(i->held_ns, at);
}

void
start_on_gated(struct instance *i, uint64_t lead_ns)
{
	/* A namespace that is shared keeps the figure of its first start. */
	if (i->gated)
		return;
	i->gated = true;
	i->gate_lead_ns = (int64_t)lead_ns;
	i->held_ns = now_real() - MIN(lead_ns, now_real());
}

void
start_on_attached(struct instance *i)
{
	if (i->held_ns == 0)
		i->held_ns = now_real();
}

void
start_on_ruled(struct instance *i)
{
	const struct quarantine *q = quarantine_of(i);
	uint64_t since = q != NULL ? q->since_ns : i->workload->mode_since_ns;
	uint64_t age = now_mono() - i->announced_ns;

	/* Enforced or held before it came? What is decided later makes nobody late. */
	if (i->ruled_ns != 0 || i->gated || i->ns.closed_ns != 0 || since + age > now_real())
		return;
	i->ruled_ns = now_mono();
	i->held_ns = now_real();
}

void
start_count(struct instance *i)
{
	struct metrics *m = &i->ctl->metrics;
	struct start s = start_of(i);

	if (i->start_counted || i->is_host || !(s.known || s.kind == START_EXISTING))
		return;
	i->start_counted = true;
	m->starts[s.kind]++;
	if (s.kind == START_LATE && i->ruled_ns != 0)
		alert_raise_instance(i, ALERT_LATE_START, ALERT_ERROR,
		    "its program ran at most %" PRId64 " ms before its rules",
		    -s.lead_ns / (int64_t)NSEC_PER_MSEC);
	if (s.kind == START_LATE)
		histogram_add(&m->late, s.lead_ns < 0 ? (uint64_t)-s.lead_ns : 0);
	else if (s.kind != START_EXISTING)
		histogram_add(&m->lead[s.kind], (uint64_t)MAX(s.lead_ns, 0));
}
