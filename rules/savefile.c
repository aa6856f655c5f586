/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See rules/savefile.h. Every length of the file is compared with the one around it and with
 * SAVEFILE_MAX_RECORD before it is believed; a block that holds no frame is not even kept whole.
 */
#include "rules/savefile.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>

#define PCAP_MAGIC 0xa1b2c3d4
#define PCAP_MAGIC_NS 0xa1b23c4d
#define PCAP_MAGIC_PATCHED 0xa1b2cd34 /* eight more bytes before each frame */
#define PCAP_HEADER 24
#define PCAP_RECORD 16
#define PCAP_RECORD_PATCHED 24
#define PCAP_LINK_MASK 0xffff /* above: the length of the checksum behind each frame */

#define BLOCK_SECTION 0x0a0d0d0a
#define BLOCK_INTERFACE 1
#define BLOCK_PACKET 2 /* obsolete */
#define BLOCK_SIMPLE 3
#define BLOCK_ENHANCED 6
#define BYTE_ORDER_MAGIC 0x1a2b3c4d
#define BLOCK_HEADER 8
#define BLOCK_TRAILER 4
#define BLOCK_MIN (BLOCK_HEADER + BLOCK_TRAILER)
#define SECTION_MIN 28
#define SECTION_MAJOR 1
#define INTERFACE_FIXED 8
#define OPTION_END 0
#define OPTION_TSRESOL 9
#define OPTION_TSOFFSET 14

#define MAX_SECONDS (500ULL * 366 * 86400) /* what can be printed: the year 2470 */

struct interface {
	int linktype;
	uint32_t snaplen;    /* 0: no limit */
	uint64_t per_second; /* of its clock */
	int64_t offset_s;
};

struct savefile {
	enum { UNKNOWN, PCAP, PCAPNG } form;
	bool began;   /* its first header has been read */
	bool swapped; /* the other byte order than the machine's */
	const char *fault;
	uint64_t skip; /* bytes of a block that nobody needs */
	/* pcap */
	int linktype;
	size_t record;
	uint32_t frac_ns;
	/* pcapng: of the section */
	struct interface *interfaces;
	uint32_t n_interfaces, room;
};

int
savefile_new(struct savefile **ret)
{
	struct savefile *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	*ret = s;
	return 0;
}

void
savefile_free(struct savefile *s)
{
	if (s == NULL)
		return;
	free(s->interfaces);
	free(s);
}

const char *
savefile_fault(const struct savefile *s)
{
	return s->fault;
}

bool
savefile_began(const struct savefile *s)
{
	return s->began;
}

bool
savefile_may_end(const struct savefile *s)
{
	return s->began && s->skip == 0;
}

static int
malformed(struct savefile *s, const char *how)
{
	s->fault = how;
	return -EBADMSG;
}

static uint16_t
get16(const struct savefile *s, const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return s->swapped ? __builtin_bswap16(v) : v;
}

static uint32_t
get32(const struct savefile *s, const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return s->swapped ? __builtin_bswap32(v) : v;
}

static int
want(size_t n, size_t *ret_used)
{
	*ret_used = n;
	return SAVEFILE_MORE;
}

static int
pcap_begin(struct savefile *s, const uint8_t *buf, size_t len, size_t *ret_used)
{
	uint32_t magic = get32(s, buf);

	if (len < PCAP_HEADER)
		return want(PCAP_HEADER, ret_used);
	s->form = PCAP;
	s->record = magic == PCAP_MAGIC_PATCHED ? PCAP_RECORD_PATCHED : PCAP_RECORD;
	s->frac_ns = magic == PCAP_MAGIC_NS ? 1 : 1000;
	s->linktype = (int)(get32(s, buf + 20) & PCAP_LINK_MASK);
	s->began = true;
	*ret_used = PCAP_HEADER;
	return SAVEFILE_OTHER;
}

/* A capture's clock is not believed, only bounded. */
static uint64_t
time_of(uint64_t sec, uint64_t nsec)
{
	return MIN(sec, MAX_SECONDS) * NSEC_PER_SEC + MIN(nsec, NSEC_PER_SEC - 1);
}

static int
pcap_next(struct savefile *s, const uint8_t *buf, size_t len, size_t *ret_used,
    struct savefile_frame *ret)
{
	uint32_t captured;

	if (len < s->record)
		return want(s->record, ret_used);
	captured = get32(s, buf + 8);
	if (captured > SAVEFILE_MAX_RECORD)
		return malformed(s, "a frame longer than any link has");
	if (len - s->record < captured)
		return want(s->record + captured, ret_used);
	*ret = (struct savefile_frame){
		.data = buf + s->record,
		.len = captured,
		.wire_len = get32(s, buf + 12),
		.linktype = s->linktype,
		.time_ns = time_of(get32(s, buf), (uint64_t)get32(s, buf + 4) * s->frac_ns),
	};
	*ret_used = s->record + captured;
	return SAVEFILE_FRAME;
}

/* Of a block that is skipped, as much as there is. */
static int
skip_on(struct savefile *s, size_t len, size_t *ret_used)
{
	if (len == 0)
		return want(1, ret_used);
	*ret_used = (size_t)MIN((uint64_t)len, s->skip);
	s->skip -= *ret_used;
	return SAVEFILE_OTHER;
}

static int
section_begin(struct savefile *s, const uint8_t *block, size_t len, size_t *ret_used)
{
	uint32_t total;

	if (len < SECTION_MIN)
		return want(SECTION_MIN, ret_used);
	s->swapped = false;
	if (get32(s, block + 8) != BYTE_ORDER_MAGIC) {
		s->swapped = true;
		if (get32(s, block + 8) != BYTE_ORDER_MAGIC)
			return malformed(s, "a section without its byte order");
	}
	total = get32(s, block + 4);
	if (total < SECTION_MIN || total % 4 != 0)
		return malformed(s, "a section header of a wrong length");
	if (get16(s, block + 12) != SECTION_MAJOR)
		return malformed(s, "a section of an unknown version");
	s->n_interfaces = 0;
	s->began = true;
	s->skip = total - SECTION_MIN;
	*ret_used = SECTION_MIN;
	return SAVEFILE_OTHER;
}

static void
set_clock(struct interface *i, uint8_t resolution)
{
	uint8_t n = resolution & 0x7f;

	if (resolution & 0x80) {
		i->per_second = 1ULL << MIN(n, 63);
		return;
	}
	i->per_second = 1;
	for (unsigned k = 0; k < MIN(n, 19); k++)
		i->per_second *= 10;
}

static void
interface_options(const struct savefile *s, const uint8_t *p, size_t len, struct interface *i)
{
	while (len >= 4) {
		uint16_t code = get16(s, p), n = get16(s, p + 2);
		size_t whole = 4 + (((size_t)n + 3) & ~(size_t)3);

		if (code == OPTION_END || whole > len)
			return;
		if (code == OPTION_TSRESOL && n == 1)
			set_clock(i, p[4]);
		if (code == OPTION_TSOFFSET && n == 8) {
			uint32_t first = get32(s, p + 4), second = get32(s, p + 8);
			bool big = s->swapped == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
			uint64_t v =
			    big ? (uint64_t)first << 32 | second : (uint64_t)second << 32 | first;

			i->offset_s = (int64_t)v;
		}
		p += whole;
		len -= whole;
	}
}

static int
interface_add(struct savefile *s, const uint8_t *body, size_t len)
{
	struct interface *i;

	if (len < INTERFACE_FIXED)
		return malformed(s, "an interface cut short");
	if (s->n_interfaces == SAVEFILE_MAX_INTERFACES)
		return malformed(s, "too many interfaces");
	if (s->n_interfaces == s->room) {
		uint32_t room = s->room == 0 ? 8 : s->room * 2;
		struct interface *more = realloc(s->interfaces, room * sizeof(*more));

		if (more == NULL)
			return -ENOMEM;
		s->interfaces = more;
		s->room = room;
	}
	i = &s->interfaces[s->n_interfaces++];
	*i = (struct interface){
		.linktype = get16(s, body), .snaplen = get32(s, body + 4), .per_second = 1000000
	};
	interface_options(s, body + INTERFACE_FIXED, len - INTERFACE_FIXED, i);
	return SAVEFILE_OTHER;
}

static uint64_t
interface_time(const struct interface *i, uint64_t t)
{
	uint64_t sec = t / i->per_second, frac = t % i->per_second;
	int64_t at = (int64_t)MIN(sec, MAX_SECONDS);
	int64_t offset = MAX(MIN(i->offset_s, (int64_t)MAX_SECONDS), -(int64_t)MAX_SECONDS);
	uint64_t unit = i->per_second;

	if (unit % NSEC_PER_SEC == 0) {
		frac /= unit / NSEC_PER_SEC;
	} else {
		for (; unit > UINT64_MAX / NSEC_PER_SEC; unit /= 2)
			frac /= 2;
		frac = frac * NSEC_PER_SEC / unit;
	}
	return time_of((uint64_t)MAX(at + offset, 0), frac);
}

/* A packet's block, after what is of its own kind: the data, with options behind it. */
static int
packet(struct savefile *s, uint32_t interface, uint64_t time, const uint8_t *body, size_t len,
    struct savefile_frame *ret)
{
	uint32_t captured = get32(s, body);

	if (interface >= s->n_interfaces)
		return malformed(s, "a frame of an interface that is not described");
	if (captured > len - 8)
		return malformed(s, "a frame longer than its block");
	*ret = (struct savefile_frame){
		.data = body + 8,
		.len = captured,
		.wire_len = get32(s, body + 4),
		.linktype = s->interfaces[interface].linktype,
		.time_ns = interface_time(&s->interfaces[interface], time),
	};
	return SAVEFILE_FRAME;
}

static uint64_t
time_at(const struct savefile *s, const uint8_t *p)
{
	return (uint64_t)get32(s, p) << 32 | get32(s, p + 4);
}

static int
simple_packet(struct savefile *s, const uint8_t *body, size_t len, struct savefile_frame *ret)
{
	uint32_t wire_len = get32(s, body), captured = (uint32_t)MIN((size_t)wire_len, len - 4);

	if (s->n_interfaces == 0)
		return malformed(s, "a frame of an interface that is not described");
	if (s->interfaces[0].snaplen != 0)
		captured = MIN(captured, s->interfaces[0].snaplen);
	*ret = (struct savefile_frame){ .data = body + 4,
		.len = captured,
		.wire_len = wire_len,
		.linktype = s->interfaces[0].linktype };
	return SAVEFILE_FRAME;
}

/* How much of a block's body is needed at least; 0: it is of no interest. */
static size_t
body_min(uint32_t type)
{
	switch (type) {
	case BLOCK_INTERFACE:
		return INTERFACE_FIXED;
	case BLOCK_PACKET:
	case BLOCK_ENHANCED:
		return 20;
	case BLOCK_SIMPLE:
		return 4;
	default:
		return 0;
	}
}

static int
block_body(
    struct savefile *s, uint32_t type, const uint8_t *body, size_t len, struct savefile_frame *ret)
{
	switch (type) {
	case BLOCK_INTERFACE:
		return interface_add(s, body, len);
	case BLOCK_ENHANCED:
		return packet(s, get32(s, body), time_at(s, body + 4), body + 12, len - 12, ret);
	case BLOCK_PACKET:
		return packet(s, get16(s, body), time_at(s, body + 4), body + 12, len - 12, ret);
	default:
		return simple_packet(s, body, len, ret);
	}
}

static int
block_next(struct savefile *s, const uint8_t *buf, size_t len, size_t *ret_used,
    struct savefile_frame *ret)
{
	uint32_t type, said, total;
	int r;

	if (len < BLOCK_HEADER)
		return want(BLOCK_HEADER, ret_used);
	type = get32(s, buf);
	if (type == BLOCK_SECTION)
		return section_begin(s, buf, len, ret_used);
	/* Some count without the padding, which is there all the same. */
	said = get32(s, buf + 4);
	if (said < BLOCK_MIN + body_min(type) || said > UINT32_MAX - 3)
		return malformed(s, "a block of a wrong length");
	total = (said + 3) & ~3u;
	if (body_min(type) == 0) {
		s->skip = total;
		return skip_on(s, len, ret_used);
	}
	if (total > SAVEFILE_MAX_RECORD)
		return malformed(s, "a block larger than any frame");
	if (len < total)
		return want(total, ret_used);
	if (get32(s, buf + total - BLOCK_TRAILER) != said)
		return malformed(s, "a block with two lengths");
	r = block_body(s, type, buf + BLOCK_HEADER, total - BLOCK_MIN, ret);
	if (r >= 0)
		*ret_used = total;
	return r;
}

static bool
is_pcap(uint32_t magic)
{
	return magic == PCAP_MAGIC || magic == PCAP_MAGIC_NS || magic == PCAP_MAGIC_PATCHED;
}

/* gzip, zstd, xz or bzip2, by the first four bytes. */
static bool
is_compressed(const uint8_t *buf)
{
	return memcmp(buf, "\x1f\x8b", 2) == 0 || memcmp(buf, "\x28\xb5\x2f\xfd", 4) == 0 ||
	       memcmp(buf,
		   "\xfd"
		   "7zX",
		   4) == 0 ||
	       memcmp(buf, "BZh", 3) == 0;
}

static int
begin(struct savefile *s, const uint8_t *buf, size_t len, size_t *ret_used)
{
	if (len < sizeof(uint32_t))
		return want(sizeof(uint32_t), ret_used);
	s->swapped = false; /* it may come here again, with more */
	s->swapped = is_pcap(__builtin_bswap32(get32(s, buf)));
	if (is_pcap(get32(s, buf)))
		return pcap_begin(s, buf, len, ret_used);
	if (get32(s, buf) != BLOCK_SECTION)
		return malformed(s, is_compressed(buf) ? "it is compressed, decompress it first"
						       : "neither pcap nor pcapng");
	s->form = PCAPNG;
	return block_next(s, buf, len, ret_used, NULL);
}

int
savefile_next(struct savefile *s, const uint8_t *buf, size_t len, size_t *ret_used,
    struct savefile_frame *ret_frame)
{
	if (s->fault != NULL)
		return -EBADMSG;
	if (s->skip > 0)
		return skip_on(s, len, ret_used);
	if (s->form == PCAP)
		return pcap_next(s, buf, len, ret_used, ret_frame);
	if (s->form == PCAPNG)
		return block_next(s, buf, len, ret_used, ret_frame);
	return begin(s, buf, len, ret_used);
}
