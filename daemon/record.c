/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The audit records of the daemon's own life: its start and end, and --cleanup without it. */
#include "config.h"
#include "daemon/api.h"
#include "daemon/segment_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* SHA-256 of the configuration as it is on the disk; null if there is none. */
static json_t *
config_digest(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ char *text = malloc(CONFIG_MAX_BYTES);
	ssize_t n = fd >= 0 && text != NULL ? read(fd, text, CONFIG_MAX_BYTES) : -1;
	char digest[AUDIT_HASH_STRLEN];

	if (n < 0)
		return json_null();
	audit_digest(text, (size_t)n, digest);
	return json_string(digest);
}

void
record_start(struct controller *c)
{
	json_t *subject = json_pack("{s:s, s:s, s:s, s:o, s:o}", "version", PACKAGE_VERSION,
	    "instance", c->args.instance, "config", c->config_path, "configDigest",
	    config_digest(c->config_path), "only", json_text(c->only));

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
