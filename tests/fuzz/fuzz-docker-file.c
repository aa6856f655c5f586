/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input: 'c', 'h' or 'i', then config.v2.json, hostconfig.json or an image's configuration. */
#include "daemon/docker_file.h"
#include "rules/util.h"

#include <string.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char config[] = "{\"ID\":\"" ID "\",\"Name\":\"/x\",\"Config\":{}}";
static const char host[] = "{\"NetworkMode\":\"default\"}";

static void
check(const struct docker_file *f)
{
	char *text = json_dumps(f->c.facts, JSON_COMPACT);

	if (text == NULL || strcmp(f->c.id, ID) != 0 || f->driver < -1 ||
	    f->driver >= RELAY_DRIVERS || f->c.running || f->inspect.pid != 0 ||
	    f->inspect.sandbox[0] != '\0' ||
	    (f->inspect.shares[0] != '\0' && !docker_id_valid(f->inspect.shares)) ||
	    json_object_size(json_object_get(f->c.facts, "labels")) > DOCKER_MAX_LABELS)
		abort();
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *buf = (const char *)data + 1, *c = config, *h = host;
	struct docker_file f = { .config = NULL };
	size_t c_len = sizeof(config) - 1, h_len = sizeof(host) - 1;
	json_t *labels = NULL;

	if (size < 1)
		return 0;
	if (data[0] == 'i') {
		if (docker_file_read_image(buf, size - 1, &labels) == 0 &&
		    json_object_size(labels) > DOCKER_MAX_LABELS)
			abort();
		json_decref(labels);
		return 0;
	}
	if (data[0] == 'c') {
		c = buf;
		c_len = size - 1;
	} else {
		h = buf;
		h_len = size - 1;
	}
	if (docker_file_read_config(ID, c, c_len, &f) == 0 &&
	    docker_file_read_host(&f, h, h_len) == 0)
		check(&f);
	docker_file_done(&f);
	return 0;
}
