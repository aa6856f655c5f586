/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/html.h"

#include "cli/table.h"

#include <nettle/base64.h>
#include <nettle/sha2.h>
#include <string.h>

void
html_put_raw(FILE *f, const char *text)
{
	for (; text != NULL && *text != '\0'; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", f);
			break;
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		case '\'':
			fputs("&#39;", f);
			break;
		default:
			fputc(*text, f);
		}
	}
}

void
html_put(FILE *f, const char *text)
{
	_cleanup_free_ char *safe = text_safe_sentence(text != NULL ? text : "");

	html_put_raw(f, safe);
}

const char *
html_hash(const char *text, size_t len, char buf[static HTML_HASH_STRLEN])
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	char encoded[BASE64_ENCODE_RAW_LENGTH(SHA256_DIGEST_SIZE) + 1];
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, len, (const uint8_t *)text);
	sha256_digest(&ctx, sizeof(digest), digest);
	base64_encode_raw(encoded, sizeof(digest), digest);
	encoded[sizeof(encoded) - 1] = '\0';
	snprintf(buf, HTML_HASH_STRLEN, "sha256-%s", encoded);
	return buf;
}
