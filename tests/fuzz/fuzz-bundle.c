/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input: the digit of a place or 'n', then a bundle's config.json or Podman's containers.json. */
#include "daemon/bundle.h"
#include "rules/util.h"

#include <string.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char minimal[] = "{\"linux\":{}}";

static void
check(struct bundle *b, bool cri)
{
	const char *runtime = json_string_value(json_object_get(b->facts, "runtime"));
	char *text = json_dumps(b->facts, JSON_COMPACT);

	if (text == NULL || runtime == NULL)
		abort();
	/* Nothing in a file makes it one of Kubernetes'. */
	if ((strcmp(runtime, "cri") == 0) != cri ||
	    (!cri && json_object_size(json_object_get(b->facts, "labels")) != 0))
		abort();
	if (b->shares[0] != '\0' && (!docker_id_valid(b->shares) || !cri))
		abort();
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *buf = (const char *)data + 1;
	struct bundle b = { .facts = NULL };
	enum relay_place place;

	if (size < 1)
		return 0;
	if (data[0] == 'n') {
		if (bundle_parse(RELAY_PLACE_PODMAN, ID, minimal, strlen(minimal), &b) < 0)
			abort();
		(void)bundle_add_names(buf, size - 1, ID, &b);
		check(&b, false);
	} else if (data[0] >= '0' && data[0] < '0' + RELAY_PLACES) {
		place = (enum relay_place)(data[0] - '0');
		if (bundle_parse(place, ID, buf, size - 1, &b) == 0)
			check(&b, place == RELAY_PLACE_CRI || place == RELAY_PLACE_CRIO);
	}
	bundle_done(&b);
	return 0;
}
