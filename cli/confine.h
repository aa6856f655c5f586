/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child that reads what strangers wrote, with nothing to gain by it. */
#ifndef NANOSEG_CLI_CONFINE_H
#define NANOSEG_CLI_CONFINE_H

/*
 * Runs fn in a child that can read and write what is open, get memory, and nothing else: no new
 * files, no sockets, no processes, as nobody if we are root. What stdio still holds is written.
 * fn's value is the child's exit code. That code, or -1 with the reason told.
 */
int confine_run(int (*fn)(void *arg), void *arg);

#endif
