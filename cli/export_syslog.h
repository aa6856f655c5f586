/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NANOSEG_CLI_EXPORT_SYSLOG_H
#define NANOSEG_CLI_EXPORT_SYSLOG_H

#include <jansson.h>
#include <stdio.h>

/* What access_collect() gives, a line a record. 0. */
int export_access_syslog(const json_t *access, FILE *f);

#endif
