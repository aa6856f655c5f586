/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The signed checkpoints of an audit log, record by record in order. */
#ifndef NANOSEG_CLI_AUDIT_SIGNED_H
#define NANOSEG_CLI_AUDIT_SIGNED_H

#include "rules/sign.h"

struct audit_signed {
	const char *wanted; /* the only key that may sign; NULL: the first that did */
	char key[SIGN_PUBLIC_STRLEN];
	size_t checkpoints, keys; /* keys: how many have signed */
	uint64_t seq;		  /* records up to this one are bound by a signature */
};

/* 0, or -EBADMSG with what is wrong in *d. */
int audit_signed_record(struct audit_signed *s, const json_t *record, struct diag *d);
/* After the last one: was there a signature where one was wanted? */
int audit_signed_end(const struct audit_signed *s, struct diag *d);

#endif
