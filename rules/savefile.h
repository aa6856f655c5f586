/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two forms of a capture's file, pcap and pcapng, out of whatever part of it has been read. In
 * pcapng every frame has the link type of its own interface, and a file may have several sections,
 * each with its byte order and its interfaces; what is not a frame is stepped over.
 *
 * Formats: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html and
 * https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html
 */
#ifndef NANOSEG_RULES_SAVEFILE_H
#define NANOSEG_RULES_SAVEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No frame and no header of a block is larger; what is, is malformed. */
#define SAVEFILE_MAX_RECORD (16u << 20)
#define SAVEFILE_MAX_INTERFACES 65536

struct savefile_frame {
	const uint8_t *data; /* inside what was handed over */
	uint32_t len;	     /* of which were captured */
	uint32_t wire_len;
	int linktype; /* LINKTYPE_ value */
	uint64_t time_ns;
};

enum savefile_found {
	SAVEFILE_FRAME = 1, /* *ret_frame is filled */
	SAVEFILE_OTHER,	    /* a header, or a block without a frame */
	SAVEFILE_MORE,	    /* *ret_used is how many bytes from here on are needed at least */
};

struct savefile;

int savefile_new(struct savefile **ret);
void savefile_free(struct savefile *s);
static inline void
savefile_freep(struct savefile **s)
{
	savefile_free(*s);
}

/*
 * The next of the file, which goes on at buf. One of enum savefile_found, with the bytes that were
 * used (never more than len) except with SAVEFILE_MORE. -EBADMSG: malformed, savefile_fault() says
 * how, and nothing can follow; -ENOMEM.
 */
int savefile_next(struct savefile *s, const uint8_t *buf, size_t len, size_t *ret_used,
    struct savefile_frame *ret_frame);
/* Has it been a capture so far: was its first header read? */
bool savefile_began(const struct savefile *s);
/* May the file end here? Not before its first header, nor inside of a block that is skipped. */
bool savefile_may_end(const struct savefile *s);
/* What was malformed, NULL: nothing yet. Lives as long as the program. */
const char *savefile_fault(const struct savefile *s);

#endif
