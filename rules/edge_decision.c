/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was decided about one edge: texts that it owns, each bounded. Owns no table. */
#include "rules/edge.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>

static int
copy_text(const char *text, char **ret)
{
	*ret = NULL;
	if (text == NULL)
		return 0;
	if (strnlen(text, EDGE_REASON_MAX + 1) > EDGE_REASON_MAX)
		return -E2BIG;
	*ret = strdup(text);
	return *ret != NULL ? 0 : -ENOMEM;
}

void
edge_decision_done(struct edge_decision *d)
{
	free(d->reason);
	free(d->ticket);
	free(d->approved_by);
	free(d->kept_by);
}

int
edge_decision_copy(const struct edge_decision *d, struct edge_decision *ret)
{
	_cleanup_(edge_decision_done) struct edge_decision copy = { 0 };
	int r;

	if ((r = copy_text(d->reason, &copy.reason)) < 0 ||
	    (r = copy_text(d->ticket, &copy.ticket)) < 0 ||
	    (r = copy_text(d->approved_by, &copy.approved_by)) < 0 ||
	    (r = copy_text(d->kept_by, &copy.kept_by)) < 0)
		return r;
	copy.decided_ns = d->decided_ns;
	copy.expires_ns = d->expires_ns;
	copy.kept_ns = d->kept_ns;
	*ret = copy;
	copy = (struct edge_decision){ 0 };
	return 0;
}

int
edge_keep(struct edge *e, const char *who, uint64_t now_ns)
{
	char *copy;
	int r = copy_text(who, &copy);

	if (r < 0)
		return r;
	free(e->decision.kept_by);
	e->decision.kept_by = copy;
	e->decision.kept_ns = now_ns;
	e->dirty = true;
	return 0;
}
