/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For --cleanup: what no role removes, and the keepers of instances whose state is lost. */
#ifndef NANOSEG_DAEMON_SWEEP_H
#define NANOSEG_DAEMON_SWEEP_H

#include <stdbool.h>

/* Ends every nanoseg-keeper of this host and waits for the end. 0 or a negative errno, said. */
int sweep_keepers(void);

/*
 * Removes what a killed daemon left in the runtime folder: its socket and pid file if nobody
 * answers there, and with all set every keeper's socket at which nobody answers.
 */
void sweep_runtime(const char *dir, const char *socket_path, const char *pid_file, bool all);

#endif
