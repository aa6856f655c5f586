/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The container of a namespace, by the cgroups of its processes.
 *
 * A namespace can outlive its container and get another one: once the process that gave the id is
 * gone, and a whole walk meets processes of another container and none of that one, it is the
 * other's.
 */
#include "daemon/warden_scan_priv.h"

#include <string.h>

#define ID_READS_PER_WALK 64u

/*
 * A cgroup's name is a claim: a user may make one named like any container below his own, and a
 * namespace with any address besides. So the process must be in that namespace, and no user but
 * root may have made it; the process is asked by one open folder, for its number may change hands.
 */
static bool
may_claim(const struct ns *n, int task)
{
	_cleanup_close_ int fd = netns_open_task(task);
	struct netns_id id;
	uid_t uid;

	return fd >= 0 && netns_identify(fd, &id) == 0 && id.cookie == n->info.cookie &&
	       netns_owner_uid(fd, &uid) == 0 && uid == 0;
}

void
claim_read(struct ns *n, int procfd, pid_t pid)
{
	_cleanup_close_ int task = -1;
	char id[L0_CONTAINER_ID_LEN + 1];
	bool known = n->info.container_id[0] != '\0';

	if ((known && !n->id_doubt) || n->id_reads++ >= ID_READS_PER_WALK)
		return;
	task = l0_open_task(procfd, pid);
	if (task < 0 || l0_task_container(task, id) < 0 || !may_claim(n, task))
		return;
	if (known && strcmp(n->info.container_id, id) != 0) {
		if (n->next_pid == 0) {
			memcpy(n->next_id, id, sizeof(id));
			n->next_pid = pid;
		}
		return;
	}
	n->id_pid = pid;
	n->id_doubt = false;
	n->dirty |= !known;
	memcpy(n->info.container_id, id, sizeof(id));
}

void
claim_check(struct ns *n, unsigned walk)
{
	if (n->id_doubt && n->next_pid != 0 && n->id_reads <= ID_READS_PER_WALK) {
		memcpy(n->info.container_id, n->next_id, sizeof(n->info.container_id));
		n->id_pid = n->next_pid;
		n->id_doubt = false;
		n->dirty = true;
	} else if (!n->id_doubt && n->id_pid != 0 && n->id_walk != walk) {
		n->id_doubt = true;
		ns_kick(n);
	}
}
