/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For --cleanup --all: keepers of any instance, also of one whose state is lost. */
#ifndef NANOSEG_DAEMON_SWEEP_H
#define NANOSEG_DAEMON_SWEEP_H

/* Ends every nanoseg-keeper of this host and waits for the end. 0 or a negative errno, said. */
int sweep_keepers(void);

#endif
