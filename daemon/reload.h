/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the configuration again. The supervisor opens the file and hands it over, asked by the
 * API or by SIGHUP; the controller, which alone has settings, validates it whole and then takes
 * it, or changes nothing. What needs a restart stays as it is and is named.
 */
#ifndef NANOSEG_DAEMON_RELOAD_H
#define NANOSEG_DAEMON_RELOAD_H

#include "daemon/audit.h"

struct msg;

struct reload {
	uint32_t asked, done; /* numbers of requests; equal: none is under way */
	struct actor who;     /* of the one that is */
	uint32_t taken;	      /* how often another one came into force, whoever asked */
	/* The last that was read, asked for or not. */
	uint64_t at_ns;
	bool refused;
	struct diag d;			    /* why; msg "": it was not */
	json_t *changed, *restart, *groups; /* keys, keys, names of groups that are not known */
};

/* Begins it: 0 with a number for *ret; -EBUSY: one is under way; or another errno. */
int reload_ask(struct controller *c, const struct actor *who, uint32_t *ret);
void reload_on_file(struct controller *c, struct msg *m);
/*
 * At the start: the file was read (error, *d), and what was good is kept. again: the daemon was
 * running already; then a bad or missing file does not end it, and the one kept last is taken.
 * -errno if there is no configuration.
 */
int reload_start(struct controller *c, bool again, int error, struct diag *d);
/* "path: line 3, column 1: what is wrong". Returns buf. */
#define RELOAD_WHY_LEN 1024
const char *reload_why(const struct controller *c, char buf[static RELOAD_WHY_LEN]);
json_t *reload_to_json(const struct controller *c);
/* SHA-256 of the file in force; null: there is none. */
json_t *reload_digest(const struct controller *c);

#endif
