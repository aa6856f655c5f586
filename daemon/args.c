/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The arguments that the supervisor gives to every role. */
#include "config.h"
#include "daemon/log.h"
#include "daemon/priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool
role_instance_valid(const char *text)
{
	return strlen(text) == 8 && strspn(text, "0123456789abcdef") == 8;
}

static void
usage(enum role r, const char *what)
{
	fprintf(stderr,
	    "nanoseg-%s: %s\n"
	    "usage: nanoseg-%s --instance HEX8 --uid N --gid N [--log LEVEL]\n"
	    "This program is started by nanosegd.\n",
	    role_name(r), what, role_name(r));
	exit(2);
}

static uint32_t
number_arg(enum role r, const char *text)
{
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || v >= UINT32_MAX)
		usage(r, "--uid and --gid take a number");
	return (uint32_t)v;
}

static enum log_level
level_arg(enum role r, const char *text)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]) == 0)
			return (enum log_level)i;
	}
	usage(r, "--log takes error, warn, info or debug");
	return LOG_LVL_INFO;
}

void
role_parse_args(enum role r, int *argc, char **argv, struct role_args *ret)
{
	struct role_args a = { .uid = (uid_t)-1, .gid = (gid_t)-1 };
	enum log_level level = LOG_LVL_INFO;
	int i, kept = 1;

	for (i = 1; i < *argc; i++) {
		const char *name = argv[i], *value = i + 1 < *argc ? argv[i + 1] : NULL;

		if (strcmp(name, "--instance") != 0 && strcmp(name, "--uid") != 0 &&
		    strcmp(name, "--gid") != 0 && strcmp(name, "--log") != 0) {
			argv[kept++] = argv[i];
			continue;
		}
		if (value == NULL)
			usage(r, "an option lacks its value");
		if (strcmp(name, "--instance") == 0) {
			if (!role_instance_valid(value))
				usage(r, "--instance takes 8 hexadecimal digits");
			memcpy(a.instance, value, 9);
		} else if (strcmp(name, "--uid") == 0) {
			a.uid = number_arg(r, value);
		} else if (strcmp(name, "--gid") == 0) {
			a.gid = number_arg(r, value);
		} else {
			level = level_arg(r, value);
		}
		i++;
	}
	if (a.instance[0] == '\0' || a.uid == (uid_t)-1 || a.gid == (gid_t)-1)
		usage(r, "--instance, --uid and --gid are needed");
	argv[kept] = NULL;
	*argc = kept;
	log_init(role_name(r), level);
	*ret = a;
}
