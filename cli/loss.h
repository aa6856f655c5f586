/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of a workload's JSON says that something was missed of it: one answer for all outputs. */
#ifndef NANOSEG_CLI_LOSS_H
#define NANOSEG_CLI_LOSS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Events, reports and connections that are known to be missing. */
int64_t loss_count(const json_t *workload);
/* Of them, reports: the daemon's own sums have them too. */
int64_t loss_reports(const json_t *workload);
/* The same to be read: a number, or "some" if it is not known how many. */
#define LOSS_COUNT_LEN 32
const char *loss_count_text(const json_t *workload, char buf[static LOSS_COUNT_LEN]);
/* "events, conntrackTable"; "" if nothing was lost. Raw. */
#define LOSS_SOURCES_LEN 400
const char *loss_sources_text(const json_t *workload, char buf[static LOSS_SOURCES_LEN]);
/* Hours, or runs, in which something may have been missed. */
int64_t loss_windows(const json_t *workload);
/* "3 of 40 hours may lack something" */
#define LOSS_WINDOWS_LEN 128
const char *loss_windows_text(const json_t *workload, char buf[static LOSS_WINDOWS_LEN]);
/* Something was lost, counted or not. */
bool loss_is_known(const json_t *workload);

#endif
