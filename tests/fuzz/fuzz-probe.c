/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input: a byte that says the family, and what a raw TCP socket of it has received. */
#include "daemon/probe_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct probe_segment s;

	if (size == 0)
		return 0;
	if (probe_segment_parse(data[0] & 1 ? 6 : 4, data + 1, size - 1, &s) == 0 &&
	    s.syn_ack == s.reset)
		__builtin_trap();
	return 0;
}
