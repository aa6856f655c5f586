/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NANOSEG_CLI_COMPLETION_H
#define NANOSEG_CLI_COMPLETION_H

/* contrib/nanoseg.bash; made by the build. */
extern const char completion_bash[];

#endif
