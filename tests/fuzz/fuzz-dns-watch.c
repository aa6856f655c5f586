/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Input: packets of a namespace to and from a name server: a byte of what it is (1: an answer), two
 * of length, and its IP packet.
 */
#include "rules/dns_watch.h"

#include "rules/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
on_answer(void *arg, const struct dns_answer *a)
{
	size_t *asked = arg;

	if (a->message->n_addrs == 0 || !a->message->response || (*asked)-- == 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(dns_watch_freep) struct dns_watch *w = NULL;
	size_t at = 0, len, left;
	uint64_t now = 1, before;
	struct frame_info f;

	if (dns_watch_new(1, &w) < 0)
		return 0;
	for (; size - at > 3; at += 3 + len, now++) {
		len = MIN((size_t)(data[at + 1] << 8 | data[at + 2]), size - at - 3);
		before = dns_watch_stats(w)->queries;
		if (frame_parse(FRAME_RAW, data + at + 3, len, &f) < 0)
			continue;
		left = before;
		dns_watch_packet(
		    w, data[at] >> 1, data[at] & 1, &f, data + at + 3, now, on_answer, &left);
	}
	return 0;
}
