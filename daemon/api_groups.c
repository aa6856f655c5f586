/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/api_groups.h"

#include <grp.h>
#include <stdio.h>
#include <string.h>

bool
api_groups_have(const struct api_group_list *l, const gid_t *have, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < l->n; k++)
			if (have[i] == l->groups[k].gid)
				return true;
	return false;
}

static void
add(struct api_group_list *l, const char *name, gid_t gid)
{
	struct api_group *g = &l->groups[l->n++];

	snprintf(g->name, sizeof(g->name), "%s", name);
	g->gid = gid;
}

static void
resolve(struct api_group_list *l, char *const *names, size_t n)
{
	l->n = 0;
	for (size_t i = 0; i < n; i++) {
		const struct group *g = getgrnam(names[i]);

		if (g == NULL)
			log_warn(
			    "the configuration names a group that does not exist: %s", names[i]);
		else
			add(l, names[i], g->gr_gid);
	}
}

void
api_groups_resolve(struct api_groups *g, const struct config *f)
{
	resolve(&g->reviewers, f->reviewer_groups, f->n_reviewer_groups);
	resolve(&g->admins, f->admin_groups, f->n_admin_groups);
}

static bool
find_in_file(const char *name, gid_t *ret)
{
	FILE *f = fopen("/etc/group", "re");
	const struct group *g = NULL;

	while (f != NULL && (g = fgetgrent(f)) != NULL && strcmp(g->gr_name, name) != 0)
		;
	if (g != NULL)
		*ret = g->gr_gid;
	if (f != NULL)
		fclose(f);
	return g != NULL;
}

static bool
find_before(const struct api_group_list *l, const char *name, gid_t *ret)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->groups[i].name, name) != 0)
			continue;
		*ret = l->groups[i].gid;
		return true;
	}
	return false;
}

static void
resolve_again(struct api_group_list *l, char *const *names, size_t n,
    const struct api_groups *before, json_t *unknown)
{
	gid_t gid;

	l->n = 0;
	for (size_t i = 0; i < n; i++) {
		if (find_in_file(names[i], &gid) ||
		    find_before(&before->reviewers, names[i], &gid) ||
		    find_before(&before->admins, names[i], &gid))
			add(l, names[i], gid);
		else
			json_array_append_new(unknown, json_string(names[i]));
	}
}

json_t *
api_groups_again(struct api_groups *g, const struct config *f)
{
	const struct api_groups before = *g;
	json_t *unknown = json_array();

	resolve_again(&g->reviewers, f->reviewer_groups, f->n_reviewer_groups, &before, unknown);
	resolve_again(&g->admins, f->admin_groups, f->n_admin_groups, &before, unknown);
	return unknown;
}
