/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose a namespace is, by the processes in it.
 *
 * A cgroup's name is a claim: a user may make one named like any container below his own, and a
 * namespace with any address besides. So a process must be in that namespace, and what counts as a
 * container of the host's engines was made by root. A user's namespace is of the container whose
 * cgroup it lies in, if that is the very cgroup, by its whole path, of a namespace that root made;
 * else of a container of his own, which goes by his number.
 *
 * A namespace can outlive its container and get another one: once the process that gave the id is
 * gone, and a whole walk meets processes of another container and none of that one, it is the
 * other's.
 *
 * Who may make namespaces may make many. The first SCAN_MAX_PER_PLACE of one cgroup are looked at.
 */
#include "daemon/log.h"
#include "daemon/netns_name.h"
#include "daemon/warden_scan_priv.h"

#include <errno.h>
#include <string.h>

#define SCAN_MAX_PER_PLACE 64
#define ID_READS_PER_WALK 64u
#define USER_READS_PER_WALK 4u /* any user can make any number of them */
#define FACTS_EVERY_NS (8 * NSEC_PER_SEC)
#define FACTS_AGAIN_NS NSEC_PER_SEC
#define FACTS_HURRIES 8u
#define FACTS_TRIES 8u
#define CROWD_LOG_NS (60 * NSEC_PER_SEC)

bool
claim_is_known(const struct ns *n)
{
	return n->info.container_id[0] != '\0' ||
	       (n->info.flags & (NETNS_F_USER | NETNS_F_MACHINE)) != 0;
}

/* Of a plain one in /run/netns its processes tell as well, which are the host's own. */
static bool
has_facts(const struct ns *n)
{
	return claim_is_known(n) || (n->info.flags & NETNS_F_NAMED) != 0;
}

static void
set_place(struct scan *s, struct ns *n, uint64_t place)
{
	if (n->place != 0 || place == 0)
		return;
	n->place = place;
	n->next_place = s->by_place[bucket(place)];
	s->by_place[bucket(place)] = n;
}

void
claim_forget(struct scan *s, struct ns *n)
{
	struct ns **p = &s->by_place[bucket(n->place)];

	if (n->place == 0)
		return;
	while (*p != n)
		p = &(*p)->next_place;
	*p = n->next_place;
}

void
claim_found(struct scan *s, struct ns *n, const struct l0_claim *c)
{
	set_place(s, n, c->place);
}

bool
claim_is_crowded(struct scan *s, const struct l0_claim *c)
{
	const struct ns *n = s->by_place[bucket(c->place)];
	unsigned count = 0;

	for (; n != NULL && count < SCAN_MAX_PER_PLACE; n = n->next_place)
		count += n->place == c->place && c->place != 0;
	if (count < SCAN_MAX_PER_PLACE)
		return false;
	if (s->crowd_logged_ns == 0 || now_ns() - s->crowd_logged_ns > CROWD_LOG_NS) {
		s->crowd_logged_ns = now_ns();
		log_error("container %.12s has more than %d network namespaces: the others are not "
			  "looked at",
		    c->id[0] != '\0' ? c->id : c->machine, SCAN_MAX_PER_PLACE);
	}
	return true;
}

static bool
is_roots(const struct ns *n)
{
	return claim_is_known(n) && (n->info.flags & (NETNS_F_USER | NETNS_F_NESTED)) == 0;
}

/* The namespace of this very container or machine that root made. */
static const struct ns *
roots_own(const struct scan *s, const struct l0_claim *c)
{
	const struct ns *n = s->by_place[bucket(c->place)];

	for (; n != NULL; n = n->next_place)
		if (n->place == c->place && is_roots(n))
			return n;
	return NULL;
}

bool
scan_is_containers(const struct scan *s, const struct ns *n)
{
	const struct ns *k = n->place != 0 ? s->by_place[bucket(n->place)] : NULL;

	if (!is_roots(n))
		return false;
	for (; k != NULL; k = k->next_place)
		if (k != n && k->place == n->place && k->n_files > 0)
			return false;
	return true;
}

/* Is the process in the namespace? It is asked by one open folder: its number may change hands. */
static bool
is_inside(struct ns *n, int task)
{
	_cleanup_close_ int fd = netns_open_task(task);
	struct netns_id id;
	uid_t uid;

	if (fd < 0 || netns_identify(fd, &id) < 0 || id.cookie != n->info.cookie ||
	    netns_owner_uid(fd, &uid) < 0)
		return false;
	n->owner = uid;
	n->owner_known = true;
	return true;
}

/* What an engine calls a file says nothing of who is in it. */
static void
set_name(struct ns *n, const char *name, uint32_t flags)
{
	bool engines =
	    (n->info.flags & NETNS_F_ENGINE) != 0 || netns_name_is_engines(n->info.basename);

	if (n->info.basename[0] != '\0' && !engines)
		return;
	memset(n->info.basename, 0, sizeof(n->info.basename));
	memcpy(n->info.basename, name, strlen(name));
	n->info.flags |= flags;
}

/* pid: whose word it is, 0 if another one's will do as well. */
static void
take_roots(struct scan *s, struct ns *n, const struct l0_claim *c, pid_t pid)
{
	bool known = claim_is_known(n);

	if (known && strcmp(n->info.container_id, c->id) != 0) {
		if (n->next_pid == 0 && c->id[0] != '\0') {
			memcpy(n->next_id, c->id, sizeof(n->next_id));
			n->next_at = c->place;
			n->next_pid = pid;
		}
		return;
	}
	set_place(s, n, c->place);
	n->dirty |= !known;
	n->id_doubt = false;
	/* What was read was of others in it. */
	if (!known)
		n->facts_read = false;
	if (c->id[0] == '\0') {
		set_name(n, c->machine, NETNS_F_MACHINE);
		return;
	}
	n->id_pid = pid;
	memcpy(n->info.container_id, c->id, sizeof(n->info.container_id));
}

/* A container that its user's Podman runs has a name; without one it goes by its id. */
static void
take_users(struct scan *s, struct ns *n, int procfd, int task, const struct l0_claim *c)
{
	const struct ns *own = c->place != 0 ? roots_own(s, c) : NULL;
	char name[L0_NAME_LEN + 1] = "";

	if (own != NULL) {
		take_roots(s, n, c, 0);
		n->info.flags |= NETNS_F_NESTED;
		return;
	}
	if (l0_task_podman_name(procfd, task, name) < 0) {
		if (c->place == 0)
			return;
		memcpy(name, c->id[0] != '\0' ? c->id : c->machine, sizeof(name) - 1);
		if (c->id[0] != '\0')
			name[12] = '\0';
	}
	/* The namespace of the container it lies in may be met later in this walk. */
	if (n->user_walk == 0)
		n->user_walk = s->walk;
	if (n->user_walk == s->walk)
		return;
	set_place(s, n, c->place);
	n->info.owner = n->owner;
	set_name(n, name, NETNS_F_USER);
	n->dirty = true;
}

bool
claim_is_own(struct ns *n, int procfd, pid_t pid)
{
	_cleanup_close_ int task = l0_open_task(procfd, pid);
	struct l0_claim c = { .place = 0 };

	if (task < 0 || !is_inside(n, task))
		return false;
	l0_task_claim(task, &c);
	return l0_task_inherits(procfd, task, c.place, n->info.ino) == 0;
}

void
claim_read(struct scan *s, struct ns *n, int procfd, pid_t pid, bool is_set_up)
{
	unsigned reads = n->owner_known && n->owner != 0 ? USER_READS_PER_WALK : ID_READS_PER_WALK;
	struct l0_claim c = { .place = 0 };
	_cleanup_close_ int task = -1;
	int r;

	if ((claim_is_known(n) && !n->id_doubt) || n->id_reads++ >= reads)
		return;
	/* Who named the file has said whose it is. */
	if (n->owner_known && n->owner != 0 && n->n_files > 0)
		return;
	task = l0_open_task(procfd, pid);
	if (task < 0 || (!n->owner_known && !is_inside(n, task)))
		return;
	r = l0_task_claim(task, &c);
	if (r < 0 && n->owner == 0)
		r = l0_task_stray_claim(procfd, task, is_set_up, &c);
	if ((r < 0 && n->owner == 0) || !is_inside(n, task) ||
	    l0_task_inherits(procfd, task, c.place, n->info.ino) != 0)
		return;
	if (n->owner != 0)
		take_users(s, n, procfd, task, &c);
	else if (r == 0)
		take_roots(s, n, &c, pid);
}

void
claim_check(struct scan *s, struct ns *n)
{
	if (n->id_doubt && n->next_pid != 0 && n->id_reads <= ID_READS_PER_WALK) {
		claim_forget(s, n);
		n->place = 0;
		set_place(s, n, n->next_at);
		memcpy(n->info.container_id, n->next_id, sizeof(n->info.container_id));
		n->id_pid = n->next_pid;
		n->id_doubt = false;
		n->dirty = true;
	} else if (!n->id_doubt && n->id_pid != 0 && n->id_walk != s->walk) {
		n->id_doubt = true;
		ns_kick(n);
	}
}

/*
 * The container's own, and no longer its runtime's, which goes first with all capabilities. Others
 * of the host may be in the namespace as well.
 */
static bool
is_containers(const struct ns *n, int task)
{
	struct l0_claim c = { .place = 0 };

	if (l0_task_is_runtime(task))
		return false;
	return n->place == 0 || (l0_task_claim(task, &c) == 0 && c.place == n->place);
}

void
claim_begin_facts(struct ns *n)
{
	uint64_t now = now_ns();

	n->facts_tries = 0;
	if (!has_facts(n) || now < n->facts_due_ns)
		return;
	n->facts_tries = FACTS_TRIES;
	n->facts_due_ns = now + FACTS_AGAIN_NS;
	n->facts_hurries++;
}

static void
facts_settle(struct ns *n)
{
	uint8_t facts = n->facts_seen | TASK_F_READ;

	n->facts_hurries = 0;
	n->facts_due_ns = now_ns() + FACTS_EVERY_NS;
	n->dirty |= n->info.facts != facts;
	n->info.facts = facts;
}

/*
 * What the first process of the container may do. Only what two readings agree on counts: not every
 * runtime's process is known by its name. In a plain namespace somebody's command is soon gone:
 * there they have to be of the same process.
 */
void
claim_read_facts(struct ns *n, int procfd, pid_t pid)
{
	_cleanup_close_ int task = -1;
	uint8_t facts;
	bool known, again;

	if (n->facts_tries == 0)
		return;
	n->facts_tries--;
	task = l0_open_task(procfd, pid);
	if (task < 0 || !is_containers(n, task) || l0_task_facts(task, &facts) < 0)
		return;
	n->facts_tries = 0;
	known = claim_is_known(n);
	again = n->facts_read && facts == n->facts_seen && (known || pid == n->facts_pid);
	n->facts_read = true;
	n->facts_seen = facts;
	n->facts_pid = pid;
	if (again || (known && n->facts_hurries >= FACTS_HURRIES))
		facts_settle(n);
}

/* With those that cannot be read there is no hurry any more after a while. */
uint64_t
claim_facts_due(const struct ns *n)
{
	bool settled = n->facts_read && n->facts_hurries == 0;

	if (!has_facts(n) || settled || n->facts_hurries >= FACTS_HURRIES)
		return 0;
	return MAX(now_ns(), n->facts_due_ns) + NSEC_PER_MSEC;
}
