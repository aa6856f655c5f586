/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel for netlink/nft to talk to: its transactions go to an interpreter's table, byte for byte
 * as they would be sent. Link with NFTWIRE_WRAP (tests/diff/Makemodule.am).
 */
#ifndef NANOSEG_TESTS_NFTWIRE_H
#define NANOSEG_TESTS_NFTWIRE_H

#include "tests/diff/nftsim.h"

/* The table that the next transactions are for. */
void nftwire_connect(struct sim_table *t);

#endif
