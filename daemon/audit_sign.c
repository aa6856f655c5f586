/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signatures: checkpoints in the audit log, and statements that other commands have signed.
 *
 * The key is made at the first start, STATE/signing-key.json, mode 0600. A damaged one is not
 * replaced: what was signed so far could not be told from what another key signs. Whoever is root
 * here can read it: a signature shows that this installation said something, to somebody who has
 * noted its public key elsewhere, and no more.
 *
 * A checkpoint is a record about the record before it. One comes at the start and the end, then
 * after so many records or so long; the chain binds all that stand before it.
 */
#include "daemon/audit_internal.h"
#include "daemon/log.h"
#include "daemon/statefile.h"

#include "rules/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define KEY_FILE "signing-key.json"
#define KEY_FILE_MAX 1024
#define CHECKPOINT_RECORDS 256
#define CHECKPOINT_NS (3600 * NSEC_PER_SEC)

static int
read_key(const char *state_dir, uint8_t ret[static SIGN_SEED_LEN])
{
	json_t *o = NULL;
	int r = statefile_read(state_dir, KEY_FILE, KEY_FILE_MAX, &o);
	const char *seed = json_string_value(json_object_get(o, "seed"));

	if (r == 0 && (seed == NULL || sign_parse_hex(seed, ret, SIGN_SEED_LEN) < 0))
		r = -EBADMSG;
	json_decref(o);
	return r;
}

static int
make_key(const char *state_dir, struct sign_key *ret)
{
	uint8_t seed[SIGN_SEED_LEN];
	char text[2 * SIGN_SEED_LEN + 1];
	struct sign_key key;
	int r;

	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		return -EIO;
	for (size_t i = 0; i < sizeof(seed); i++)
		snprintf(text + 2 * i, 3, "%02x", seed[i]);
	sign_key_init(seed, &key);
	r = statefile_write(state_dir, KEY_FILE,
	    json_pack("{s:s, s:s}", "seed", text, "publicKey", key.public_text));
	explicit_bzero(text, sizeof(text));
	if (r == 0)
		*ret = key;
	return r;
}

void
audit_sign_init(struct audit *a, const char *state_dir, const char *instance)
{
	struct audit_signer *s = &a->signer;
	uint8_t seed[SIGN_SEED_LEN];
	int r = read_key(state_dir, seed);

	if (r == 0) {
		sign_key_init(seed, &s->key);
	} else if (r == -ENOENT) {
		r = make_key(state_dir, &s->key);
		s->is_new = r == 0;
	}
	explicit_bzero(seed, sizeof(seed));
	s->ready = r == 0;
	snprintf(s->instance, sizeof(s->instance), "%s", instance);
	if (r < 0)
		log_error("%s/%s: %s; nothing is signed, records are kept all the same", state_dir,
		    KEY_FILE, r == -EBADMSG ? "not a key" : strerror(-r));
}

const char *
audit_public_key(const struct audit *a)
{
	return a != NULL && a->signer.ready ? a->signer.key.public_text : NULL;
}

static json_t *
json_head(const struct audit *a)
{
	return a->loaded && a->file.seq != 0
		   ? json_pack("{s:I, s:s}", "seq", (json_int_t)a->file.seq, "hash", a->file.hash)
		   : json_null();
}

int
audit_sign(const struct audit *a, json_t *statement, struct diag *d)
{
	if (audit_public_key(a) == NULL) {
		diag_set(d, 0, 0, "there is no key to sign with: see the daemon's log");
		return -EIO;
	}
	if (json_object_set_new(statement, "instance", json_string(a->signer.instance)) < 0 ||
	    json_object_set_new(statement, "time", json_time(now_real())) < 0 ||
	    json_object_set_new(statement, "head", json_head(a)) < 0)
		return -ENOMEM;
	return sign_statement(&a->signer.key, statement);
}

static void
note_key(struct audit *a)
{
	const struct audit_record r = { .event = "signing-key",
		.reason = "there was none",
		.subject = json_pack("{s:s}", "publicKey", a->signer.key.public_text) };
	struct diag d;

	if (audit_write(a, &r, &d) == 0)
		a->signer.is_new = false;
}

void
audit_checkpoint(struct audit *a)
{
	struct audit_record r = { .event = "checkpoint" };
	struct diag d;

	if (a == NULL || !a->signer.ready || !a->loaded || a->file.seq == a->signer.seq)
		return;
	if (a->signer.is_new)
		note_key(a);
	r.subject = json_pack("{s:s}", "kind", "checkpoint");
	if (r.subject == NULL || audit_sign(a, r.subject, &d) < 0) {
		json_decref(r.subject);
		return;
	}
	audit_note(a, &r);
	/* Also after a failure: the next try is the next one due. */
	a->signer.seq = a->file.seq;
	a->signer.signed_ns = now_mono();
}

void
audit_tick_checkpoint(struct audit *a, uint64_t now_ns)
{
	const struct audit_signer *s = &a->signer;

	if (a->start_subject != NULL)
		return;
	if (s->signed_ns == 0 || a->file.seq - s->seq >= CHECKPOINT_RECORDS ||
	    now_ns - s->signed_ns >= CHECKPOINT_NS)
		audit_checkpoint(a);
}
