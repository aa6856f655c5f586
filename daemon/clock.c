/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The clocks, apart from their users so that tests can bring their own. */
#include "daemon/controller.h"

#include <fcntl.h>
#include <time.h>

static uint64_t
now_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t
now_real(void)
{
	return now_of(CLOCK_REALTIME);
}

uint64_t
now_mono(void)
{
	return now_of(CLOCK_MONOTONIC);
}

uint64_t
now_coarse(void)
{
	return now_of(CLOCK_MONOTONIC_COARSE);
}

const char *
boot_id(char buf[static BOOT_ID_STRLEN])
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, buf, BOOT_ID_STRLEN - 1) : -1;

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}
