/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/audit_signed.h"

#include "rules/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int
refuse(struct diag *d, json_int_t seq, const char *why)
{
	diag_set(d, 0, 0, "checkpoint %" JSON_INTEGER_FORMAT ": %s", seq, why);
	return -EBADMSG;
}

/* A new key is taken from a record that says so, where none is asked for. */
static int
take_key(struct audit_signed *s, const char *key, json_int_t seq, struct diag *d)
{
	if (s->wanted != NULL && strcmp(key, s->wanted) != 0)
		return refuse(d, seq, "signed with another key than the one asked for");
	if (s->key[0] != '\0' && strcmp(key, s->key) != 0)
		return refuse(d, seq, "signed with another key than those before it");
	s->keys += s->key[0] == '\0';
	snprintf(s->key, sizeof(s->key), "%s", key);
	return 0;
}

/* A checkpoint is about the record before it. */
static int
check(struct audit_signed *s, const json_t *record, struct diag *d)
{
	json_int_t seq = json_integer_value(json_object_get(record, "seq"));
	const json_t *o = json_object_get(record, "subject"), *head = json_object_get(o, "head");
	const char *kind = audit_text(o, "kind", NULL), *hash = audit_text(o, "head", "hash");
	const char *prev = audit_text(record, "prev", NULL);
	struct diag why;

	if (sign_check(o, &why) < 0)
		return refuse(d, seq, why.msg);
	if (kind == NULL || strcmp(kind, "checkpoint") != 0 || hash == NULL || prev == NULL ||
	    strcmp(hash, prev) != 0 || json_integer_value(json_object_get(head, "seq")) != seq - 1)
		return refuse(d, seq, "it is signed for another place");
	return take_key(s, audit_text(o, "publicKey", NULL), seq, d);
}

int
audit_signed_record(struct audit_signed *s, const json_t *record, struct diag *d)
{
	const char *event = audit_text(record, "event", NULL);
	int r;

	if (event != NULL && strcmp(event, "signing-key") == 0)
		s->key[0] = '\0';
	if (event == NULL || strcmp(event, "checkpoint") != 0)
		return 0;
	r = check(s, record, d);
	if (r == 0) {
		s->checkpoints++;
		s->seq = (uint64_t)json_integer_value(json_object_get(record, "seq"));
	}
	return r;
}

int
audit_signed_end(const struct audit_signed *s, struct diag *d)
{
	if (s->wanted == NULL || s->checkpoints > 0)
		return 0;
	diag_set(d, 0, 0, "no checkpoint is signed with the key given by --key");
	return -EBADMSG;
}
