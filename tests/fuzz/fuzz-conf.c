/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as the daemon's configuration, and compared with the defaults as a reload does. */
#include "daemon/conf.h"
#include "rules/util.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
compare(const struct config *a, const struct config *b)
{
	for (int restart = 0; restart < 2; restart++) {
		json_t *changes = config_changes(a, b, restart);

		if (changes == NULL)
			abort();
		json_decref(changes);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(config_freep) struct config *c = NULL, *defaults = NULL;
	struct diag d = { 0 };
	int r = config_parse((const char *)data, size, &d, &c);

	if (r < 0) {
		if (r == -EINVAL && d.msg[0] == '\0')
			abort();
		return 0;
	}
	if (config_new(&defaults) < 0)
		return 0;
	compare(defaults, c);
	config_keep_old(c, defaults);
	compare(defaults, c);
	return 0;
}
