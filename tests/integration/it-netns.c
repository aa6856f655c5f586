/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Namespaces against this kernel: what is one, its identity, and the way back. */
#include "netlink/netns.h"
#include "rules/util.h"
#include "tests/integration/nslib.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

static bool
same_ns(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

static void
only_network_namespaces_are_valid(void)
{
	_cleanup_close_ int net = netns_open_self(), mnt = -1, file = -1, none = -1;

	mnt = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	tap_ok(netns_fd_valid(net), "a network namespace is one");
	tap_ok(!netns_fd_valid(mnt), "a mount namespace is none");
	tap_ok(!netns_fd_valid(file), "a device is none");
	none = netns_open_pid(0);
	tap_ok(none == -EINVAL, "pid 0 has none");
}

static void
a_folder_with_traps_is_opened_safely(void)
{
	char dir[] = "/tmp/nst-netns-XXXXXX", path[64], self[64];
	_cleanup_close_ int dirfd = -1, fd = -1;
	static const char *const bad[] = { "plain", "pipe", "link", "..", ".", "", "x/y", "none" };
	int ns = ns_new();

	if (mkdtemp(dir) == NULL)
		return;
	dirfd = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	close(openat(dirfd, "plain", O_CREAT | O_WRONLY, 0600));
	close(openat(dirfd, "ns", O_CREAT | O_WRONLY, 0600));
	if (mkfifoat(dirfd, "pipe", 0600) < 0 || symlinkat("/proc/self/ns/net", dirfd, "link") < 0)
		tap_ok(false, "the traps are laid");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		tap_ok(netns_open_at(dirfd, bad[i]) < 0, "\"%s\" is refused at once", bad[i]);
	tap_ok(netns_open_at(dirfd, "ns") == -EINVAL, "a file before its mount is refused");
	snprintf(path, sizeof(path), "%s/ns", dir);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", ns);
	if (mount(self, path, NULL, MS_BIND, NULL) == 0) {
		fd = netns_open_at(dirfd, "ns");
		tap_ok(fd >= 0 && same_ns(fd, ns), "and opened after it");
		umount2(path, MNT_DETACH);
	} else {
		tap_skip("and opened after it", "cannot mount");
	}
	for (size_t i = 0; i < 3; i++)
		unlinkat(dirfd, bad[i], 0);
	unlinkat(dirfd, "ns", 0);
	rmdir(dir);
	close(ns);
}

static int
where_am_i(void *arg)
{
	int *ret = arg;

	*ret = netns_open_self();
	return 42;
}

static void
entering_comes_back(void)
{
	_cleanup_close_ int before = netns_open_self(), inside = -1, after = -1;
	int ns = ns_new();

	tap_ok(netns_call(ns, where_am_i, &inside) == 42 && same_ns(inside, ns),
	    "the function runs inside");
	after = netns_open_self();
	tap_ok(same_ns(before, after) && !same_ns(before, ns), "the caller is back after it");
	tap_ok(netns_call(0, where_am_i, &inside) < 0, "what is no namespace is not entered");
	close(ns);
}

static void
cookies_tell_namespaces_apart(void)
{
	_cleanup_close_ int self = netns_open_self(), sock = -1;
	struct netns_id ids[3], again;
	int ns[3], r = 0;
	uint64_t cookie = 0;

	ns[0] = self;
	for (int i = 1; i < 3; i++)
		ns[i] = ns_new();
	for (int i = 0; i < 3; i++)
		r |= netns_identify(ns[i], &ids[i]);
	r |= netns_identify(ns[1], &again);
	tap_ok(r == 0 && ids[0].cookie != ids[1].cookie && ids[1].cookie != ids[2].cookie &&
		   ids[0].cookie != ids[2].cookie && again.cookie == ids[1].cookie &&
		   again.ino == ids[1].ino,
	    "each namespace has a cookie of its own, always the same");
	sock = netns_socket(ns[2], AF_INET, SOCK_DGRAM, 0);
	tap_ok(netns_socket_cookie(sock, &cookie) == 0 && cookie == ids[2].cookie &&
		   (fcntl(sock, F_GETFD) & FD_CLOEXEC) != 0,
	    "a socket opened inside carries it, and closes on exec");
	close(ns[2]);
	close(ns[1]);
	close(sock);
	sock = -1;
	ns[1] = ns_new();
	tap_ok(netns_identify(ns[1], &again) == 0 && again.cookie != ids[1].cookie &&
		   again.cookie != ids[2].cookie,
	    "a cookie is not used again");
	tap_note("inode of a later namespace %s", again.ino == ids[1].ino || again.ino == ids[2].ino
						      ? "was used again"
						      : "was a new one");
	close(ns[1]);
}

static void
the_receive_buffer_is_as_asked(void)
{
	_cleanup_close_ int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);

	tap_ok(sock_rcvbuf(s, 32 << 20) == 32 << 20, "32 MB are forced");
	tap_ok(sock_rcvbuf(s, 65536) == 65536, "and made small again");
}

int
main(void)
{
	ns_start();
	only_network_namespaces_are_valid();
	a_folder_with_traps_is_opened_safely();
	entering_comes_back();
	cookies_tell_namespaces_apart();
	the_receive_buffer_is_as_asked();
	return tap_end();
}
