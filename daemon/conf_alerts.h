/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings about what leaves the machine or its log by itself: `alerts` and `metrics`. */
#ifndef NANOSEG_DAEMON_CONF_ALERTS_H
#define NANOSEG_DAEMON_CONF_ALERTS_H

#include "rules/read.h"

enum syslog_transport {
	SYSLOG_NONE,
	SYSLOG_UNIX,
	SYSLOG_UDP,
	SYSLOG_TCP,
};

struct alerts_config {
	uint64_t repeat_after_ns;
	uint32_t per_minute;
	char *journald; /* path of its socket; NULL: not told */
	struct {
		enum syslog_transport transport;
		char *path; /* of SYSLOG_UNIX */
		struct addr addr;
		uint16_t port;
		int facility;
	} syslog;
	struct {
		char *url; /* NULL: none */
		char *token_file, *ca_file;
		uint64_t timeout_ns;
	} webhook;
};

/* The ways out: bits of enum herald_sink. */
unsigned alerts_config_ways(const struct alerts_config *a);
void alerts_config_done(struct alerts_config *a);
/* *ret is replaced. 0, -EINVAL with the diag filled, or -ENOMEM. */
int alerts_config_read(const struct reader *r, const struct slot *s, struct alerts_config *ret);

struct metrics_config {
	struct addr addr;
	uint16_t port;	/* 0: no listener */
	char *textfile; /* NULL: none */
};

void metrics_config_done(struct metrics_config *m);
int metrics_config_read(const struct reader *r, const struct slot *s, struct metrics_config *ret);

#endif
