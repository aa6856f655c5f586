/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The words for kinds and severities of alerts: apart, for the herald has them too. */
#include "daemon/alert.h"

#include <errno.h>
#include <string.h>

const char *
alert_kind_name(enum alert_kind kind)
{
	static const char *const names[ALERT_KINDS] = {
		[ALERT_DENIAL] = "denial",
		[ALERT_DRIFT] = "drift",
		[ALERT_LOSS] = "loss",
		[ALERT_LATE_START] = "lateStart",
		[ALERT_SELF_TEST] = "selfTest",
		[ALERT_FOREIGN_OWNER] = "foreignOwner",
		[ALERT_OVERDUE] = "overdueReview",
		[ALERT_IMAGE] = "unapprovedImage",
		[ALERT_QUARANTINE] = "quarantine",
		[ALERT_ROLLBACK] = "rollback",
		[ALERT_NOISY] = "noisyNeighbour",
		[ALERT_NEW_PEER] = "newPeer",
		[ALERT_DENIAL_BURST] = "denialBurst",
		[ALERT_SCAN] = "scan",
		[ALERT_NEW_NAME] = "newName",
		[ALERT_SPOOFED] = "spoofedSource",
	};

	return names[kind];
}

int
alert_kind_parse(const char *word)
{
	for (int k = 0; k < ALERT_KINDS; k++)
		if (strcmp(alert_kind_name((enum alert_kind)k), word) == 0)
			return k;
	return -EINVAL;
}

const char *
alert_severity_name(enum alert_severity severity)
{
	static const char *const names[] = {
		[ALERT_CRITICAL] = "critical",
		[ALERT_ERROR] = "error",
		[ALERT_WARNING] = "warning",
		[ALERT_NOTICE] = "notice",
		[ALERT_INFO] = "info",
	};

	return names[severity];
}

int
alert_severity_parse(const char *word)
{
	for (int s = ALERT_CRITICAL; s <= ALERT_INFO; s++)
		if (strcmp(alert_severity_name((enum alert_severity)s), word) == 0)
			return s;
	return -EINVAL;
}
