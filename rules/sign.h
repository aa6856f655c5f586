/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signed statements: a JSON object, and Ed25519 over it. What is signed is the object's canonical
 * form (keys sorted, no blanks, ASCII), with "publicKey" and without "signature", both in hex. A
 * statement's "kind" says what it is, so that none passes for another.
 *
 * {"hash":"...","instance":"...","kind":"checkpoint","publicKey":"...","seq":7,"signature":"..."}
 */
#ifndef NANOSEG_RULES_SIGN_H
#define NANOSEG_RULES_SIGN_H

#include "rules/util.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SIGN_SEED_LEN 32
#define SIGN_PUBLIC_STRLEN 65 /* in hex */
#define SIGN_SIGNATURE_STRLEN 129

struct sign_key {
	uint8_t seed[SIGN_SEED_LEN]; /* the secret */
	uint8_t public[32];
	char public_text[SIGN_PUBLIC_STRLEN];
};

/* The key of a seed, which is the caller's randomness. */
void sign_key_init(const uint8_t seed[static SIGN_SEED_LEN], struct sign_key *ret);
/* Exactly 2 * len digits in lower case, nothing behind them; or -EINVAL. */
int sign_parse_hex(const char *text, uint8_t *ret, size_t len);
/* Sets "publicKey" and "signature" in the object. 0 or -ENOMEM. */
int sign_statement(const struct sign_key *key, json_t *o);
/*
 * Is the object as its "publicKey" signed it? Whose key that is, the caller has to know. 0, or
 * -EBADMSG with a sentence in *d.
 */
int sign_check(const json_t *o, struct diag *d);

#endif
