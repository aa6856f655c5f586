/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t
network_list_next(const char **pos, const char **ret_name)
{
	size_t len = strcspn(*pos, "\n");

	*ret_name = *pos;
	*pos += len + ((*pos)[len] == '\n');
	return len;
}

bool
network_list_has(const char *list, const char *name, size_t len)
{
	const char *one;
	size_t n;

	while ((n = network_list_next(&list, &one)) > 0)
		if (n == len && memcmp(one, name, len) == 0)
			return true;
	return false;
}

static size_t
count(const char *list)
{
	const char *one;
	size_t n = 0;

	while (network_list_next(&list, &one) > 0)
		n++;
	return n;
}

/* Names are an engine's text: what could be taken for two of them is none. */
static bool
is_fit(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < ' ')
			return false;
	return len > 0 && len <= NETWORK_NAME_MAX;
}

int
network_list_add(char **list, const char *name, size_t len)
{
	const char *have = *list != NULL ? *list : "";
	size_t size = strlen(have) + len + 2;
	char *longer;

	if (!is_fit(name, len) || network_list_has(have, name, len) ||
	    count(have) >= NETWORK_LIST_MAX)
		return 0;
	longer = malloc(size);
	if (longer == NULL)
		return -ENOMEM;
	snprintf(longer, size, "%s%s%.*s", have, *have != '\0' ? "\n" : "", (int)len, name);
	free(*list);
	*list = longer;
	return 0;
}
