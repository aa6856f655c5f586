/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A first packet (or another) by its meaning, its bytes, and what must become of it at one end:
 * the policy's words as rules/evaluate says them, and around them what a link needs in any case.
 */
#ifndef NANOSEG_TESTS_PROBE_H
#define NANOSEG_TESTS_PROBE_H

#include "tests/diff/nftsim.h"
#include "tests/diff/world.h"

struct probe {
	struct tuple t;
	uint32_t ct_state;
	uint8_t tcp_flags;
	uint8_t sctp_chunk; /* the type of the first */
	uint8_t hops;
	bool loopback; /* over lo */
	bool limited;
	bool cut;     /* the packet ends in the middle of its ports */
	bool options; /* something between the headers */
	bool dns;     /* of a connection to a name server's port */
	bool reply;   /* from whom was called */
	bool marked;  /* of a connection that was cut */
};

void probe_bytes(const struct probe *p, enum flow_dir dir, struct sim_packet *ret);
/* What the table of `own`, the end in that direction, must say: evaluation ev of its connection. */
void probe_expect(const struct world *w, const struct inventory_entry *own, const struct probe *p,
    enum flow_dir dir, const struct evaluation *ev, struct sim_result *ret);
/* What a packet that is forwarded meets in the namespace of the workload with these modes. */
void probe_expect_forward(
    const struct probe *p, enum wl_mode in, enum wl_mode out, struct sim_result *ret);
bool result_eq(const struct sim_result *a, const struct sim_result *b);
void probe_print(const struct probe *p, enum flow_dir dir, const struct sim_result *want,
    const struct sim_result *got);

#endif
