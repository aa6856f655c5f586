/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The audit records of the daemon's own life: its start and end, and --cleanup without it. */
#include "config.h"
#include "daemon/api.h"
#include "daemon/segment_internal.h"

#include <errno.h>
#include <string.h>

void
record_start(struct controller *c)
{
	json_t *subject = json_pack("{s:s, s:s, s:s, s:o, s:o}", "version", PACKAGE_VERSION,
	    "instance", c->args.instance, "config", c->config_path, "configDigest",
	    reload_digest(c), "only", json_text(c->only));

	audit_start(c->audit, subject, revision_json(c->revision, c->policy_digest), c->revision);
}

void
record_stop(struct controller *c)
{
	const struct audit_record r = { .event = "daemon-stop",
		.after = revision_json(c->revision, c->policy_digest) };

	audit_note(c->audit, &r);
	audit_checkpoint(c->audit);
}

int
record_cleanup(const char *state_dir, const struct actor *who)
{
	struct audit_record r = {
		.event = "cleanup", .who = who, .reason = "nanosegd --cleanup", .result = "begun"
	};
	struct audit *a;
	struct diag d = { 0 };
	int ret = audit_open(state_dir, &a);

	if (ret < 0)
		return ret;
	ret = audit_write(a, &r, &d);
	if (ret < 0)
		log_warn("%s", d.msg);
	audit_close(a);
	return ret;
}
