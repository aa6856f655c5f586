/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What quarantine_store.c needs of quarantine_file.c. */
#ifndef NANOSEG_DAEMON_QUARANTINE_INTERNAL_H
#define NANOSEG_DAEMON_QUARANTINE_INTERNAL_H

#include "daemon/controller.h"
#include "daemon/quarantine.h"

void quarantine_freep(struct quarantine **q);
/*
 * Writes who is held, with `added` and without `gone`, which is the newest of those released; each
 * may be NULL. Durable when it returns 0; else the file is as it was.
 */
int quarantine_save(
    struct controller *c, const struct quarantine *added, const struct quarantine *gone);
/* Texts of peers, as they are kept; -EINVAL for one that is none, -E2BIG. */
int quarantine_set_allow(
    struct quarantine *q, const char *const *list, size_t n, const char **ret_bad);

#endif
