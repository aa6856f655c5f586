/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netlink/ct_acct.h"

#include "netlink/netns.h"
#include "rules/util.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The folder net shows the namespace of whoever opens it. */
#define ACCT_FILE "/proc/sys/net/netfilter/nf_conntrack_acct"

/* A role's filter knows open() and openat() for reading alone. */
static int
open_acct(uint64_t flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	long fd = syscall(SYS_openat2, AT_FDCWD, ACCT_FILE, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static int
acct_read(void *arg)
{
	_cleanup_close_ int fd = open_acct(O_RDONLY);
	char c;

	if (fd < 0)
		return fd;
	if (read(fd, &c, 1) != 1)
		return -EIO;
	return c != '0';
}

static int
acct_write(void *arg)
{
	_cleanup_close_ int fd = open_acct(O_WRONLY);

	if (fd < 0)
		return fd;
	return write(fd, *(const bool *)arg ? "1" : "0", 1) == 1 ? 0 : -EIO;
}

int
ct_acct_get(int nsfd)
{
	return netns_call(nsfd, acct_read, NULL);
}

int
ct_acct_set(int nsfd, bool on)
{
	return netns_call(nsfd, acct_write, &on);
}
