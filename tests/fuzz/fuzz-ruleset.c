/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the decoder takes encodes to the same bytes again, and can be printed and made disjoint. */
#include "rules/ruleset.h"
#include "rules/util.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(ruleset_freep) struct ruleset *r = NULL;
	_cleanup_free_ uint8_t *buf = NULL;
	_cleanup_free_ char *text = NULL;
	uint8_t digest[RULESET_DIGEST_LEN];
	size_t len;

	if (ruleset_decode(data, size, &r) < 0)
		return 0;
	if (ruleset_encode(r, &buf, &len) < 0 || len != size || memcmp(buf, data, len) != 0)
		abort();
	if (ruleset_digest(r, digest) < 0 || ruleset_print(r, &text) < 0)
		abort();
	free(steal_ptr(buf));
	if (ruleset_disjoin(r) == 0 && ruleset_encode(r, &buf, &len) < 0)
		abort();
	return 0;
}
