/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input: the text of a cgroup, status or stat file, or the arguments of a monitor or a shim. */
#include "daemon/l0.h"
#include "rules/util.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_name(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > L0_NAME_LEN || strpbrk(name, "/%:\n") != NULL)
		__builtin_trap();
}

static void
check_stat(const char *text, size_t size)
{
	_cleanup_free_ char *copy = strndup(text, size);
	uint64_t ticks;
	bool runtime;

	if (copy != NULL)
		l0_parse_stat(copy, &runtime, &ticks);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	char name[L0_NAME_LEN + 1];
	struct l0_claim c;
	uint64_t caps;

	l0_status_caps(text, size, &caps);
	check_stat(text, size);
	if (l0_conmon_name(text, size, name))
		check_name(name);
	if (l0_shim_name(text, size, name))
		check_name(name);
	if (l0_cgroup_name(text, size, name))
		check_name(name);
	if (!l0_claim_parse(text, size, &c))
		return 0;
	if (c.place == 0 || (c.id[0] == '\0') == (c.machine[0] == '\0'))
		__builtin_trap();
	if (c.machine[0] != '\0')
		check_name(c.machine);
	else if (strspn(c.id, "0123456789abcdef") != L0_CONTAINER_ID_LEN || strlen(c.id) != 64)
		__builtin_trap();
	return 0;
}
