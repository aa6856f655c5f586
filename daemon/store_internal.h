/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between store.c (open, write) and store_load.c (read) alone. */
#ifndef NANOSEG_DAEMON_STORE_INTERNAL_H
#define NANOSEG_DAEMON_STORE_INTERNAL_H

#include "daemon/controller.h"

#include <sqlite3.h>

struct store {
	sqlite3 *db;
	sqlite3_stmt *put_edge, *put_workload, *put_revision, *put_network, *put_denial,
	    *trim_texts, *trim_revisions;
};

/* SQLite's code as a negative errno; 0 for success, a row and the end. */
int store_error(int rc);

#endif
