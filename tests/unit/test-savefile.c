/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files are put together from words, in either byte order, and handed over whole, and again byte by
 * byte as they would come through a pipe, from heap blocks of exactly the size. What is expected is
 * a line: "LINKTYPE:LEN/WIRE_LEN@NANOSECONDS" of each frame, then how it ended.
 */
#include "rules/savefile.h"

#include "rules/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct file {
	uint8_t bytes[4096];
	size_t len;
	bool big;
};

static void
put(struct file *f, uint64_t v, unsigned width)
{
	assert_true(f->len + width <= sizeof(f->bytes));
	for (unsigned i = 0; i < width; i++)
		f->bytes[f->len++] = (uint8_t)(v >> 8 * (f->big ? width - 1 - i : i));
}

static void
put_data(struct file *f, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		put(f, i, 1);
}

/*
 * Words: dataN, N bytes that count up; a hexadecimal number, a colon and its width in bytes: "5:4".
 */
static void
make(struct file *f, bool big, const char *text)
{
	_cleanup_free_ char *copy = strdup(text);

	*f = (struct file){ .big = big };
	for (char *w = strtok(copy, " "); w != NULL; w = strtok(NULL, " ")) {
		unsigned long long v;
		unsigned width, n;

		if (sscanf(w, "data%u", &n) == 1) {
			put_data(f, n);
		} else {
			assert_int_equal(sscanf(w, "%llx:%u", &v, &width), 2);
			put(f, v, width);
		}
	}
}

#define PCAP(magic, link) magic ":4 2:2 4:2 0:4 0:4 ffff:4 " link ":4 "
#define SECTION "0a0d0d0a:4 1c:4 1a2b3c4d:4 1:2 0:2 ffffffffffffffff:8 1c:4 "
#define INTERFACE(link, snaplen) "1:4 14:4 " link ":2 0:2 " snaplen ":4 14:4 "
#define ENHANCED(i, time) "6:4 24:4 " i ":4 0:4 " time ":4 4:4 64:4 data4 24:4 "

static const struct file_case {
	const char *what, *text, *expect;
} cases[] = {
	{ "pcap", PCAP("a1b2c3d4", "1") "5:4 7:4 3:4 64:4 data3 6:4 0:4 0:4 0:4",
	    "1:3/100@5000007000 1:0/0@6000000000 end" },
	{ "pcap with nanoseconds", PCAP("a1b23c4d", "65") "5:4 7:4 3:4 64:4 data3",
	    "101:3/100@5000000007 end" },
	{ "pcap with more before each frame",
	    PCAP("a1b2cd34", "1") "5:4 7:4 3:4 64:4 1:4 800:2 0:1 0:1 data3",
	    "1:3/100@5000007000 end" },
	{ "pcap that says how long the checksums are",
	    PCAP("a1b2c3d4", "24000071") "5:4 7:4 0:4 0:4", "113:0/0@5000007000 end" },
	{ "a clock that nobody can print", PCAP("a1b2c3d4", "1") "ffffffff:4 ffffffff:4 0:4 0:4",
	    "1:0/0@4294967295999999999 end" },
	{ "pcap without a frame", PCAP("a1b2c3d4", "1"), "end" },
	{ "a header that is cut", "a1b2c3d4:4 2:2 4:2", "not begun, more" },
	{ "nothing", "", "not begun, more" },
	{ "something else", "68656c6c:4 6f:4", "not begun, neither pcap nor pcapng" },
	{ "a frame that is cut", PCAP("a1b2c3d4", "1") "5:4 7:4 3:4 64:4 data2", "more" },
	{ "a frame's header that is cut", PCAP("a1b2c3d4", "1") "5:4 7:4 3:4", "more" },
	{ "a frame that is too long", PCAP("a1b2c3d4", "1") "5:4 7:4 1000001:4 64:4",
	    "a frame longer than any link has" },
	{ "pcapng", SECTION INTERFACE("1", "0") ENHANCED("0", "f4240"), "1:4/100@1000000000 end" },
	{ "two interfaces of two links",
	    SECTION INTERFACE("1", "60") INTERFACE("65", "ffff") ENHANCED("1", "1")
		ENHANCED("0", "2"),
	    "101:4/100@1000 1:4/100@2000 end" },
	{ "an interface described late",
	    SECTION INTERFACE("1", "0") ENHANCED("0", "1") INTERFACE("71", "0") ENHANCED("1", "1"),
	    "1:4/100@1000 113:4/100@1000 end" },
	{ "a second section begins anew",
	    SECTION INTERFACE("1", "0") INTERFACE("1", "0") ENHANCED("1", "1")
		SECTION INTERFACE("65", "0") ENHANCED("0", "1"),
	    "1:4/100@1000 101:4/100@1000 end" },
	{ "and forgets the interfaces", SECTION INTERFACE("1", "0") SECTION ENHANCED("0", "1"),
	    "a frame of an interface that is not described" },
	{ "clocks of nanoseconds, of halves, and with an offset",
	    SECTION "1:4 1c:4 1:2 0:2 0:4 9:2 1:2 9:1 0:3 1c:4 " ENHANCED(
		"0", "7") "1:4 1c:4 1:2 0:2 0:4 9:2 1:2 81:1 0:3 1c:4 " ENHANCED("1",
		"3") "1:4 24:4 1:2 0:2 0:4 e:2 8:2 a:8 0:2 0:2 24:4 " ENHANCED("2", "5"),
	    "1:4/100@7 1:4/100@1500000000 1:4/100@10000005000 end" },
	{ "clocks that are absurd",
	    SECTION "1:4 1c:4 1:2 0:2 0:4 9:2 1:2 7f:1 0:3 1c:4 " ENHANCED(
		"0", "7") "1:4 1c:4 1:2 0:2 0:4 9:2 1:2 ff:1 0:3 1c:4 " ENHANCED("1",
		"3") "1:4 20:4 1:2 0:2 0:4 e:2 8:2 8000000000000000:8 20:4 " ENHANCED("2", "5"),
	    "1:4/100@0 1:4/100@0 1:4/100@5000 end" },
	{ "half a second of a binary clock",
	    SECTION "1:4 1c:4 1:2 0:2 0:4 9:2 1:2 a0:1 0:3 1c:4 " ENHANCED("0", "80000000"),
	    "1:4/100@500000000 end" },
	{ "an option that is cut", SECTION "1:4 18:4 1:2 0:2 0:4 9:2 8:2 18:4 " ENHANCED("0", "1"),
	    "1:4/100@1000 end" },
	{ "the simple form, by the snapshot length",
	    SECTION INTERFACE("1", "2") "3:4 14:4 64:4 data4 14:4 ", "1:2/100@0 end" },
	{ "without one", SECTION INTERFACE("1", "0") "3:4 14:4 3:4 data4 14:4 ", "1:3/3@0 end" },
	{ "the obsolete form",
	    SECTION INTERFACE("1", "0") "2:4 24:4 0:2 0:2 0:4 1:4 4:4 64:4 data4 24:4 ",
	    "1:4/100@1000 end" },
	{ "blocks that nobody needs",
	    SECTION "bad:4 10:4 data4 10:4 " INTERFACE("1", "0") "4:4 c:4 c:4 " ENHANCED("0", "1"),
	    "1:4/100@1000 end" },
	{ "one of them is cut", SECTION "bad:4 10:4 data4", "more" },
	{ "a section with comments",
	    "0a0d0d0a:4 24:4 1a2b3c4d:4 1:2 0:2 ffffffffffffffff:8 1:2 2:2 data2 0:2 "
	    "24:4 " INTERFACE("1", "0") ENHANCED("0", "1"),
	    "1:4/100@1000 end" },
	{ "a section without its byte order", "0a0d0d0a:4 1c:4 1a2b3c4e:4 1:2 0:2 0:8 1c:4",
	    "not begun, a section without its byte order" },
	{ "a section of a later version", "0a0d0d0a:4 1c:4 1a2b3c4d:4 2:2 0:2 0:8 1c:4",
	    "not begun, a section of an unknown version" },
	{ "a section that is too short", "0a0d0d0a:4 18:4 1a2b3c4d:4 1:2 0:2 0:8 18:4",
	    "not begun, a section header of a wrong length" },
	{ "a block shorter than itself", SECTION "bad:4 8:4 8:4", "a block of a wrong length" },
	{ "a block whose length leaves out its padding",
	    SECTION INTERFACE("1", "0") "bad:4 d:4 0:4 d:4 "
					"6:4 23:4 0:4 0:4 5:4 3:4 64:4 data3 0:1 23:4",
	    "1:3/100@5000 end" },
	{ "and which ends before it",
	    SECTION INTERFACE("1", "0") "6:4 23:4 0:4 0:4 5:4 3:4 64:4 data3 23:4 0:1",
	    "a block with two lengths" },
	{ "a block that goes round the address space", SECTION "bad:4 fffffffd:4 0:4",
	    "a block of a wrong length" },
	{ "a block with two lengths", SECTION "1:4 14:4 1:2 0:2 0:4 18:4",
	    "a block with two lengths" },
	{ "a block too large to be kept", SECTION INTERFACE("1", "0") "6:4 1000004:4",
	    "a block larger than any frame" },
	{ "a frame longer than its block",
	    SECTION INTERFACE("1", "0") "6:4 24:4 0:4 0:4 1:4 5:4 64:4 data4 24:4",
	    "a frame longer than its block" },
	{ "a frame of no interface", SECTION "3:4 14:4 64:4 data4 14:4",
	    "a frame of an interface that is not described" },
};

/* The frames of f, of which at first only `step` bytes are there, then as many more. */
static void
read_file(const struct file *f, size_t step, char *out, size_t room)
{
	_cleanup_(savefile_freep) struct savefile *s = NULL;
	struct savefile_frame frame;
	size_t at = 0, there = 0, used = 0, n = 0;
	int r = SAVEFILE_MORE;

	assert_int_equal(savefile_new(&s), 0);
	out[0] = '\0';
	while (r > 0) {
		uint8_t *part = malloc(MAX(there - at, (size_t)1));

		assert_non_null(part);
		memcpy(part, f->bytes + at, there - at);
		r = savefile_next(s, part, there - at, &used, &frame);
		if (r == SAVEFILE_FRAME) {
			assert_true(frame.data >= part);
			assert_true(frame.data + frame.len <= part + (there - at));
			for (uint32_t i = 0; i < frame.len; i++)
				assert_int_equal(frame.data[i], i);
			n += (size_t)snprintf(out + n, room - n, "%d:%u/%u@%llu ", frame.linktype,
			    frame.len, frame.wire_len, (unsigned long long)frame.time_ns);
		}
		free(part);
		if (r == SAVEFILE_MORE) {
			assert_true(used > there - at);
			if (there == f->len)
				break;
			there = MIN(f->len, there + step);
		} else if (r > 0) {
			assert_true(used > 0 && used <= there - at);
			at += used;
		}
	}
	assert_true(n < room);
	if (!savefile_began(s))
		n += (size_t)snprintf(out + n, room - n, "not begun, ");
	snprintf(out + n, room - n, "%s",
	    r < 0				  ? savefile_fault(s)
	    : at == f->len && savefile_may_end(s) ? "end"
						  : "more");
	if (r < 0)
		assert_int_equal(savefile_next(s, f->bytes, f->len, &used, &frame), -EBADMSG);
}

static void
each_file_gives_its_frames_and_its_end(void **state)
{
	struct file f;
	char got[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (int big = 0; big < 2; big++)
			for (size_t step = 1; step < 5000; step = step * 7) {
				make(&f, big, cases[i].text);
				read_file(&f, step, got, sizeof(got));
				if (strcmp(got, cases[i].expect) != 0)
					fail_msg("%s, %s endian, by %zu: %s, expected %s",
					    cases[i].what, big ? "big" : "little", step, got,
					    cases[i].expect);
			}
}

static void
sections_may_differ_in_their_byte_order(void **state)
{
	struct file little, big;
	char got[512];

	(void)state;
	make(&little, false, SECTION INTERFACE("1", "0") ENHANCED("0", "1"));
	make(&big, true, SECTION INTERFACE("65", "0") ENHANCED("0", "2"));
	memcpy(little.bytes + little.len, big.bytes, big.len);
	little.len += big.len;
	read_file(&little, 3, got, sizeof(got));
	assert_string_equal(got, "1:4/100@1000 101:4/100@2000 end");
}

static void
interfaces_are_bounded(void **state)
{
	_cleanup_(savefile_freep) struct savefile *s = NULL;
	struct savefile_frame frame;
	struct file f;
	size_t used;
	int r;

	(void)state;
	assert_int_equal(savefile_new(&s), 0);
	make(&f, false, SECTION);
	assert_int_equal(savefile_next(s, f.bytes, f.len, &used, &frame), SAVEFILE_OTHER);
	assert_int_equal(used, f.len);
	make(&f, false, INTERFACE("1", "0"));
	for (unsigned i = 0; i < SAVEFILE_MAX_INTERFACES; i++)
		assert_int_equal(savefile_next(s, f.bytes, f.len, &used, &frame), SAVEFILE_OTHER);
	r = savefile_next(s, f.bytes, f.len, &used, &frame);
	assert_int_equal(r, -EBADMSG);
	assert_string_equal(savefile_fault(s), "too many interfaces");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_file_gives_its_frames_and_its_end),
		cmocka_unit_test(sections_may_differ_in_their_byte_order),
		cmocka_unit_test(interfaces_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
