/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What no file in rules/ may do; layers.py proves that it would notice. Never linked or run. */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <syslog.h>
#include <time.h>

int layers_bad(json_t *j, const char *path);

int
layers_bad(json_t *j, const char *path)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts) < 0 || time(NULL) == 0)
		return -1;
	syslog(LOG_INFO, "%s", path);
	printf("%d\n", json_dump_file(j, path, 0));
	puts(getenv(path));
	return open(path, O_RDONLY) + socket(AF_INET, SOCK_STREAM, 0);
}
