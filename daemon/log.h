/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines to stderr ("<level> role: text"), names escaped by the caller with text_escape(). */
#ifndef NANOSEG_DAEMON_LOG_H
#define NANOSEG_DAEMON_LOG_H

#include "rules/util.h"

enum log_level {
	LOG_LVL_ERROR, /* a person must act */
	LOG_LVL_WARN,  /* degraded */
	LOG_LVL_INFO,  /* a change of state */
	LOG_LVL_DEBUG, /* per event */
};

void log_init(const char *role, enum log_level max);
/* Says so much, and never less than log_init() has asked for. */
void log_raise(enum log_level max);
void log_line(enum log_level level, const char *fmt, ...) _printf_(2, 3);

#define log_error(...) log_line(LOG_LVL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LVL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LVL_DEBUG, __VA_ARGS__)

#endif
