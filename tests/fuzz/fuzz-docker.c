/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input: one byte that chooses the parser, then what an engine might say. */
#include "daemon/docker.h"
#include "daemon/http1.h"
#include "rules/util.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_labels(const json_t *labels)
{
	const char *key;
	json_t *value;
	size_t bytes = 0;

	if (!json_is_object(labels) || json_object_size(labels) > DOCKER_MAX_LABELS)
		abort();
	json_object_foreach((json_t *)labels, key, value)
	{
		if (!json_is_string(value))
			abort();
		bytes += strlen(key) + json_string_length(value);
	}
	if (bytes > DOCKER_MAX_LABEL_BYTES)
		abort();
}

static void
check_container(const char *buf, size_t len)
{
	struct docker_container c;
	char *text;

	if (docker_parse_container(buf, len, &c) < 0)
		return;
	if (!docker_id_valid(c.id) || (c.image_id[0] != '\0' && !docker_image_id_valid(c.image_id)))
		abort();
	check_labels(json_object_get(c.facts, "labels"));
	if (json_array_size(json_object_get(c.facts, "networks")) > DOCKER_MAX_NETWORKS)
		abort();
	if (json_array_size(json_object_get(c.facts, "ports")) > DOCKER_MAX_PORTS)
		abort();
	text = json_dumps(c.facts, JSON_COMPACT);
	if (text == NULL)
		abort();
	free(text);
	docker_container_done(&c);
}

static void
check_list(const char *buf, size_t len)
{
	const char *elem;
	size_t pos = 0, n, last = 0;

	while (docker_list_next(buf, len, &pos, &elem, &n) == 1) {
		if (pos <= last || pos > len || n == 0 || elem < buf || elem + n > buf + len)
			abort();
		last = pos;
		check_container(elem, n);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct docker_inspect inspect;
	struct docker_event event;
	struct http1_head head;
	json_t *labels;
	const char *buf = (const char *)data + 1;
	size_t len = size - 1;
	int r;

	if (size < 1)
		return 0;
	switch (data[0]) {
	case 'l':
		check_list(buf, len);
		break;
	case 'c':
		check_container(buf, len);
		break;
	case 'i':
		if (docker_parse_image(buf, len, &labels) == 0) {
			check_labels(labels);
			json_decref(labels);
		}
		break;
	case 's':
		if (docker_parse_inspect(buf, len, &inspect) == 0 && inspect.pid < 0)
			abort();
		break;
	case 'p':
		if (docker_parse_pods(buf, len, &labels) == 0) {
			if (json_object_size(labels) > DOCKER_MAX_IN_PODS)
				abort();
			json_decref(labels);
		}
		break;
	case 'e':
		if (docker_parse_event(buf, len, &event) == 0 && event.kind != DOCKER_EVENT_OTHER &&
		    !docker_id_valid(event.id))
			abort();
		break;
	case 'h':
		r = http1_parse_head(buf, len, &head);
		if (r > 0 && ((size_t)r > len || head.status < 100 || head.status > 599))
			abort();
		break;
	default:
		break;
	}
	return 0;
}
