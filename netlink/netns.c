/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entering network namespaces and opening sockets inside them.
 *
 * Invariant: no function returns with the calling thread in another namespace than it came from. If
 * the way back is closed the process aborts, for whatever it did next would happen to a container.
 */
#include "netlink/netns.h"

#include "rules/util.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static bool
fd_on_nsfs(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == NSFS_MAGIC_NUMBER;
}

bool
netns_fd_valid(int fd)
{
	/* The ioctl number is shared with other file types, so the file system comes first. */
	return fd_on_nsfs(fd) && ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET;
}

int
netns_open_self(void)
{
	int fd;

	/* thread-self: the threads of one process may be in different namespaces. */
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int
netns_open_at(int dirfd, const char *name)
{
	_cleanup_close_ int path = -1, fd = -1;
	char self[64];

	if (name[0] == '\0' || strchr(name, '/') != NULL || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return -EINVAL;

	/*
	 * O_PATH looks without opening: the folder may hold a pipe or a device, and opening one
	 * blocks or acts. Only what proved to be on nsfs is opened, through the same reference.
	 */
	path = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (path < 0)
		return -errno;
	if (!fd_on_nsfs(path))
		return -EINVAL;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", path);
	fd = open(self, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!netns_fd_valid(fd))
		return -EINVAL;
	return steal_fd(&fd);
}

int
netns_open_pid(pid_t pid)
{
	_cleanup_close_ int fd = -1;
	char path[64];

	if (pid <= 0)
		return -EINVAL;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!netns_fd_valid(fd))
		return -EINVAL;
	return steal_fd(&fd);
}

int
netns_open_task(int taskfd)
{
	_cleanup_close_ int fd = openat(taskfd, "ns/net", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (!netns_fd_valid(fd))
		return -EINVAL;
	return steal_fd(&fd);
}

int
netns_owner_uid(int nsfd, uid_t *ret)
{
	_cleanup_close_ int userns = ioctl(nsfd, NS_GET_USERNS);
	uid_t uid;

	if (userns < 0 || ioctl(userns, NS_GET_OWNER_UID, &uid) < 0)
		return -errno;
	*ret = uid;
	return 0;
}

int
netns_call(int nsfd, int (*fn)(void *arg), void *arg)
{
	_cleanup_close_ int self = -1;
	int r;

	self = netns_open_self();
	if (self < 0)
		return self;
	if (setns(nsfd, CLONE_NEWNET) < 0)
		return -errno;
	r = fn(arg);
	if (setns(self, CLONE_NEWNET) < 0)
		abort();
	return r;
}

struct socket_args {
	int domain, type, protocol;
};

static int
open_socket(void *arg)
{
	const struct socket_args *a = arg;
	int fd;

	fd = socket(a->domain, a->type | SOCK_CLOEXEC, a->protocol);
	return fd < 0 ? -errno : fd;
}

int
netns_socket(int nsfd, int domain, int type, int protocol)
{
	struct socket_args a = { domain, type, protocol };

	return netns_call(nsfd, open_socket, &a);
}

int
netns_of_socket(int sock)
{
	int fd = ioctl(sock, SIOCGSKNS);

	return fd < 0 ? -errno : fd;
}

int
netns_socket_cookie(int sock, uint64_t *ret)
{
	uint64_t cookie;
	socklen_t len = sizeof(cookie);

	if (getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
		return -errno;
	if (len != sizeof(cookie))
		return -EPROTO;
	*ret = cookie;
	return 0;
}

int
netns_identify(int nsfd, struct netns_id *ret)
{
	_cleanup_close_ int sock = -1;
	struct netns_id id;
	struct stat st;
	int r;

	if (fstat(nsfd, &st) < 0)
		return -errno;
	sock = netns_socket(nsfd, AF_UNIX, SOCK_DGRAM, 0);
	if (sock < 0)
		return sock;
	r = netns_socket_cookie(sock, &id.cookie);
	if (r < 0)
		return r;
	id.dev = st.st_dev;
	id.ino = st.st_ino;
	*ret = id;
	return 0;
}

int
sock_kernel_only(int sock)
{
	const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	return connect(sock, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0 ? -errno : 0;
}

int
sock_rcvbuf(int sock, int bytes)
{
	int value;
	socklen_t len = sizeof(value);

	/* The kernel doubles what it is told, to pay for its own bookkeeping. */
	value = bytes / 2;
	if (setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &value, sizeof(value)) < 0 &&
	    setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &value, sizeof(value)) < 0)
		return -errno;
	if (getsockopt(sock, SOL_SOCKET, SO_RCVBUF, &value, &len) < 0)
		return -errno;
	return value;
}

int
netns_kernel_socket(int nsfd, int protocol, uint32_t groups, int rcvbuf)
{
	const struct sockaddr_nl sa = { .nl_family = AF_NETLINK, .nl_groups = groups };
	_cleanup_close_ int fd = netns_socket(nsfd, AF_NETLINK, SOCK_RAW, protocol);
	int r;

	if (fd < 0)
		return fd;
	if (rcvbuf != 0) {
		r = sock_rcvbuf(fd, rcvbuf);
		if (r < 0)
			return r;
	}
	if (bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	r = sock_kernel_only(fd);
	return r < 0 ? r : steal_fd(&fd);
}
