/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The privileges of each role, in one table, and the only way down to them. What was dropped is
 * read back: a role that kept more than its line says does not run.
 */
#include "config.h"
#include "daemon/log.h"
#include "daemon/priv.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static void
fail(const char *what)
{
	log_error("cannot drop privileges (%s): %s; not running", what, strerror(errno));
	_exit(1);
}

static void
drop_bounding(void)
{
	int cap;

	for (cap = 0; cap < 64; cap++) {
		int held = prctl(PR_CAPBSET_READ, cap);

		if (held < 0) /* past the kernel's last capability */
			return;
		if (held == 1 && prctl(PR_CAPBSET_DROP, cap) < 0)
			fail("bounding set");
	}
}

static void
change_ids(uid_t uid, gid_t gid)
{
	/* Already there: the second step of a role that opened something in between. */
	if (geteuid() == uid && uid != 0)
		return;
	if (setgroups(0, NULL) < 0)
		fail("supplementary groups");
	if (prctl(PR_SET_KEEPCAPS, 1) < 0)
		fail("keep capabilities");
	if (setresgid(gid, gid, gid) < 0)
		fail("group id");
	if (setresuid(uid, uid, uid) < 0)
		fail("user id");
	if (prctl(PR_SET_KEEPCAPS, 0) < 0)
		fail("keep capabilities");
}

static void
set_caps(uint64_t caps)
{
	int cap;

	capng_clear(CAPNG_SELECT_CAPS);
	for (cap = 0; cap < 64; cap++) {
		if (caps & (1ULL << cap) &&
		    capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, (unsigned)cap) < 0)
			fail("capabilities");
	}
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		fail("capabilities");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		fail("ambient set");
}

static void
prove(uid_t uid, gid_t gid, uint64_t caps)
{
	uid_t ru, eu, su;
	gid_t rg, eg, sg;
	int cap;

	errno = EPERM;
	if (getresuid(&ru, &eu, &su) < 0 || ru != uid || eu != uid || su != uid)
		fail("user id is not what it should be");
	if (getresgid(&rg, &eg, &sg) < 0 || rg != gid || eg != gid || sg != gid)
		fail("group id is not what it should be");
	if (getgroups(0, NULL) != 0)
		fail("supplementary groups are left");
	if (capng_get_caps_process() < 0)
		fail("capabilities cannot be read");
	for (cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap) >= 0; cap++) {
		bool meant = (caps & (1ULL << cap)) != 0;

		if (!!capng_have_capability(CAPNG_PERMITTED, (unsigned)cap) != meant ||
		    capng_have_capability(CAPNG_INHERITABLE, (unsigned)cap) ||
		    capng_have_capability(CAPNG_BOUNDING_SET, (unsigned)cap))
			fail("capabilities are not what they should be");
	}
}

static void
drop_to(enum role r, uid_t uid, gid_t gid, uint64_t caps)
{
	char name[16];

	errno = EINVAL;
	if ((uid == 0) != priv_caps_of(r)->root || (uid != 0 && gid == 0))
		fail("a user id that is not for this role");
	umask(077);
	snprintf(name, sizeof(name), "ns-%s", role_name(r));
	if (prctl(PR_SET_NAME, name) < 0)
		fail("name");
	drop_bounding();
	change_ids(uid, gid);
	set_caps(caps);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fail("no new privileges");
	/* After the ids: a change of ids resets it. */
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		fail("dumpable");
	prove(uid, gid, caps);
}

void
priv_drop(enum role r, uid_t uid, gid_t gid)
{
	drop_to(r, uid, gid, priv_caps_of(r)->caps);
}

void
priv_drop_opening(enum role r, uid_t uid, gid_t gid)
{
	drop_to(r, uid, gid, priv_caps_of(r)->caps | priv_caps_of(r)->opening);
}
