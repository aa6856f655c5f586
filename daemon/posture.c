/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the warden is to do with namespaces that appear: it closes them once some workload is
 * enforced, and never for a daemon with --only, which loads nothing before a name matches. The
 * warden remembers it while the controller is away.
 */
#include "daemon/controller.h"
#include "daemon/gate.h"

#include <string.h>

void
posture_update(struct controller *c, bool again)
{
	const struct config *f = c->config;
	bool close = c->only == NULL && gate_enforces(c);
	struct w_posture p = {
		.close = close,
		.close_named = close && f->close_named,
		.quarantine = f->on_unknown == ON_UNKNOWN_QUARANTINE,
		.timeout_ms = (uint32_t)MIN(
		    MAX(f->identify_timeout_ns / NSEC_PER_MSEC, 1u), POSTURE_TIMEOUT_MAX_MS),
		/* What it may do is not known yet. */
		.guard = f->host_guard != HOST_GUARD_OFF,
	};

	if (!again && memcmp(&p, &c->posture, sizeof(p)) == 0)
		return;
	if (role_send(&c->loop, ROLE_WARDEN, MSG_W_POSTURE, 0, &p, sizeof(p)) == 0)
		c->posture = p;
}
