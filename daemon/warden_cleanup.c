/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way out: works with every role dead. Every namespace that has a file or a process is entered
 * once, tables with the prefix are deleted, and the namespace is asked again. No connection is cut:
 * a table goes, its conntrack entries stay.
 */
#include "daemon/l0.h"
#include "daemon/proto.h"
#include "daemon/warden.h"
#include "netlink/ct_acct.h"
#include "netlink/netns.h"
#include "netlink/nft_seen.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct cleanup {
	const char *prefix;
	uint64_t *done; /* inodes, for the time of this run */
	size_t n_done, room;
	unsigned seen, cleaned, tables, left;
};

static bool
is_done(const struct cleanup *c, uint64_t ino)
{
	for (size_t i = 0; i < c->n_done; i++)
		if (c->done[i] == ino)
			return true;
	return false;
}

static int
mark_done(struct cleanup *c, uint64_t ino)
{
	if (c->n_done == c->room) {
		size_t room = c->room == 0 ? 64 : 2 * c->room;
		uint64_t *more = reallocarray(c->done, room, sizeof(*more));

		if (more == NULL)
			return -ENOMEM;
		c->done = more;
		c->room = room;
	}
	c->done[c->n_done++] = ino;
	return 0;
}

/* Why a table is still there, as a person would want it said. */
static const char *
left_why(int error)
{
	if (error == -EPERM)
		return "owned by a living process: is the daemon or its keeper still running?";
	return error < 0 ? strerror(-error) : "it was made again";
}

/* One that counts connections has switched on their accounting. */
static void
on_table(void *arg, const char *name)
{
	size_t len = strlen(name), tail = strlen(NFT_SEEN_SUFFIX);

	if (len > tail && strcmp(name + len - tail, NFT_SEEN_SUFFIX) == 0)
		*(bool *)arg = true;
}

static void
clean_netns(struct cleanup *c, int nsfd, const char *name)
{
	_cleanup_close_ int sock = -1;
	int before, deleted, after;
	bool counts = false;

	c->seen++;
	sock = netns_socket(nsfd, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	before = sock < 0 ? sock : nft_count_tables(sock, c->prefix);
	if (before < 0) {
		printf("%s: cannot be looked into: %s\n", name, strerror(-before));
		c->left++;
		return;
	}
	if (before == 0)
		return;
	nft_each_table(sock, c->prefix, on_table, &counts);
	deleted = nft_cleanup(sock, c->prefix);
	after = nft_count_tables(sock, c->prefix);
	if (after == 0 && counts)
		ct_acct_set(nsfd, false);
	if (after != 0) {
		printf("%s: %d of %d tables left: %s\n", name, MAX(after, 0), before,
		    left_why(deleted < 0 ? deleted : after));
		c->left++;
		return;
	}
	printf("%s: %d %s removed\n", name, before, before == 1 ? "table" : "tables");
	c->cleaned++;
	c->tables += (unsigned)before;
}

static void
visit(struct cleanup *c, int nsfd, const char *name)
{
	struct netns_id id;

	if (netns_identify(nsfd, &id) < 0 || is_done(c, id.ino))
		return;
	if (mark_done(c, id.ino) < 0) {
		printf("%s: not looked into: no memory\n", name);
		c->left++;
		return;
	}
	clean_netns(c, nsfd, name);
}

static int
visit_process(void *arg, int procfd, pid_t pid, uint64_t ino)
{
	_cleanup_close_ int fd = -1;
	struct l0_claim claim;
	char name[128];

	if (is_done(arg, ino))
		return 0;
	fd = netns_open_pid(pid);
	if (fd < 0)
		return 0;
	if (l0_pid_claim(procfd, pid, &claim) == 0)
		snprintf(name, sizeof(name), "netns of pid %d (container %.*s)", (int)pid,
		    claim.id[0] != '\0' ? 12 : L0_NAME_LEN,
		    claim.id[0] != '\0' ? claim.id : claim.machine);
	else
		snprintf(name, sizeof(name), "netns of pid %d", (int)pid);
	visit(arg, fd, name);
	return 0;
}

/* A file's name goes to a terminal: what could act there does not. */
static void
printable(char *s)
{
	for (; *s != '\0'; s++)
		if (*s < 0x20 || *s > 0x7e)
			*s = '?';
}

static void
visit_dir(struct cleanup *c, const char *path)
{
	int fd = l0_open_dir(path);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (d == NULL) {
		close_fd(&fd);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		_cleanup_close_ int nsfd = netns_open_at(dirfd(d), e->d_name);
		char name[384];

		if (nsfd < 0)
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		printable(name);
		visit(c, nsfd, name);
	}
	closedir(d);
}

static void
visit_self(struct cleanup *c)
{
	_cleanup_close_ int fd = netns_open_self();

	if (fd >= 0)
		visit(c, fd, "host");
}

int
warden_cleanup(const char *prefix)
{
	struct cleanup c = { .prefix = prefix };
	struct l0_dir dirs[L0_DIRS_MAX];
	size_t n = l0_dirs(dirs);
	int r;

	visit_self(&c);
	for (size_t i = 0; i < n; i++)
		visit_dir(&c, dirs[i].path);
	r = l0_each_process(visit_process, &c);
	if (r < 0) {
		printf("processes cannot be listed: %s\n", strerror(-r));
		c.left++;
	}
	free(c.done);
	if (c.left > 0) {
		printf("%u of %u namespaces not clean, %u tables removed elsewhere\n", c.left,
		    c.seen, c.tables);
		return 1;
	}
	printf("clean: %u tables removed from %u namespaces; %u looked into, none left\n", c.tables,
	    c.cleaned, c.seen);
	return 0;
}
