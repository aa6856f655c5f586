/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/l0.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char id[L0_CONTAINER_ID_LEN + 1];

	if (!l0_container_id((const char *)data, size, id))
		return 0;
	if (strspn(id, "0123456789abcdef") != L0_CONTAINER_ID_LEN || strlen(id) != 64)
		__builtin_trap();
	return 0;
}
