/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may start: gate.c; and what the warden does with new namespaces: posture.c. */
#ifndef NANOSEG_DAEMON_GATE_H
#define NANOSEG_DAEMON_GATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct controller;
struct w_looked;

/* gate.c */
int gate_new(struct controller *c); /* after segment_load() */
/* Nobody waits any more. A controller's own ends with its process. */
void gate_free(struct controller *c);
/* Something that a start waits for may have changed. */
void gate_check(struct controller *c);
void gate_tick(struct controller *c); /* once a second */
void gate_on_looked(struct controller *c, const struct w_looked *l, uint32_t seq);
/* Its path, whole; null: there is no such folder. */
json_t *gate_marker_to_json(const struct controller *c);
/* There is a marker of an earlier life, but nothing that says what it stood for. */
bool gate_is_held(const struct controller *c);
/* Some workload that this daemon governs is enforced, or was and nobody knows which. */
bool gate_enforces(const struct controller *c);
/*
 * What STATE/enforced says: an empty one that the policy enforces somebody, and is not to be taken
 * for lost with the store.
 */
enum gate_mark {
	GATE_MARK_UNKNOWN,
	GATE_MARK_NONE,	      /* it is not there */
	GATE_MARK_QUARANTINE, /* somebody is held; GATE_MARK_POLICY if that is so as well */
	GATE_MARK_POLICY,
};
/* Writes or removes it, durably; logged. */
int gate_mark(struct controller *c, enum gate_mark mark);

/* posture.c: tells the warden what to do with new namespaces; again: also if it is as before. */
void posture_update(struct controller *c, bool again);

#endif
