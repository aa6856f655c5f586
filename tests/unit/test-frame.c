/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames are written as text: hex digits with spaces, built from named pieces, so that a case can
 * be read. Every accepted frame is also cut at every length and parsed from a heap block of exactly
 * that size, so that a sanitizer or valgrind sees a read too far.
 */
#include "rules/frame.h"

#include "rules/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ETH "020000000001 020000000002 "
#define IP4(len, proto) "45 00" len "0001 0000 40" proto "0000 0a000001 0a000002 "
#define CALL "82828282828260 "
#define AX25 CALL "84848484848461 "
#define ZERO31 "00000000000000 0000000000000000 0000000000000000 0000000000000000 "
#define IP4_FRAG(len, frag, proto) "45 00" len "0001" frag "40" proto "0000 0a000001 0a000002 "
#define IP6(len, next)                                             \
	"60000000" len next "40 fd000000000000000000000000000001 " \
	"fd000000000000000000000000000002 "
#define TCP_SYN "c000 0050 00000001 00000000 50 02 ffff 0000 0000 "
#define UDP8 "c000 0035 0008 0000 "
#define V4_TCP IP4("0028", "06") TCP_SYN
#define V4_UDP IP4("001c", "11") UDP8
#define V6_TCP IP6("0014", "06") TCP_SYN

static const struct frame_case {
	const char *what;
	int link;
	const char *hex;
	int expect;
	uint8_t proto;
	uint16_t sport, dport;
	uint8_t tcp_flags, flags, icmp_type;
	uint32_t ifindex, payload_off, payload_len;
} cases[] = {
	{ "Ethernet, IPv4, TCP SYN", 1, ETH "0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 54, 0 },
	{ "padding is no payload", 1, ETH "0800" V4_UDP "000000000000", 0, 17, 0xc000, 53, 0, 0, 0,
	    0, 42, 0 },
	{ "a payload", 1, ETH "0800" IP4("0020", "11") "c000 0035 000c 0000 61626364", 0, 17,
	    0xc000, 53, 0, 0, 0, 0, 42, 4 },
	{ "bytes after the UDP length", 1,
	    ETH "0800" IP4("0020", "11") "c000 0035 000a 0000 61626364", 0, 17, 0xc000, 53, 0, 0, 0,
	    0, 42, 2 },
	{ "Ethernet, IPv6, TCP", 1, ETH "86dd" V6_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 74, 0 },
	{ "one VLAN tag", 1, ETH "8100 0005 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 58, 0 },
	{ "two VLAN tags", 1, ETH "88a8 0005 8100 0006 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    62, 0 },
	{ "three VLAN tags", 1, ETH "88a8 0005 8100 0006 8100 0007 0800" V4_TCP, 0, 6, 0xc000, 80,
	    2, 0, 0, 0, 66, 0 },
	{ "a VLAN tag that is cut", 1, ETH "8100 0005", -EBADMSG },
	{ "PPPoE session, IPv4", 1, ETH "8864 11 00 0001 002a 0021" V4_TCP, 0, 6, 0xc000, 80, 2, 0,
	    0, 0, 62, 0 },
	{ "PPPoE session, IPv6", 1, ETH "8864 11 00 0001 003e 0057" V6_TCP, 0, 6, 0xc000, 80, 2, 0,
	    0, 0, 82, 0 },
	{ "PPPoE session, link control", 1, ETH "8864 11 00 0001 0004 c021 0101", -ENODATA },
	{ "PPPoE shorter than its packet", 1, ETH "8864 11 00 0001 0016 0021" V4_TCP, -EBADMSG },
	{ "PPPoE that ends inside the TCP header", 1, ETH "8864 11 00 0001 0026 0021" V4_TCP,
	    -EBADMSG },
	{ "PPPoE of another version", 1, ETH "8864 22 00 0001 002a 0021" V4_TCP, -EBADMSG },
	{ "ARP", 1, ETH "0806 0001080006040001", -ENODATA },
	{ "802.3 with LLC", 1, ETH "0026 424203", -ENODATA },
	{ "IPv4 options", 1,
	    ETH "0800 46 00 0020 0001 0000 40 11 0000 0a000001 0a000002 01010101" UDP8, 0, 17,
	    0xc000, 53, 0, 0, 0, 0, 46, 0 },
	{ "IPv4 header of 16 bytes", 1,
	    ETH "0800 44 00 001c 0001 0000 40 11 0000 0a000001 0a000002" UDP8, -EBADMSG },
	{ "IPv4 total length below its header", 1, ETH "0800" IP4("0013", "11") UDP8, -EBADMSG },
	{ "IPv4 total length before the ports", 1, ETH "0800" IP4("0016", "11") UDP8, -EBADMSG },
	{ "IPv4 total length 0 (offload)", 1, ETH "0800" IP4("0000", "06") TCP_SYN "6162", 0, 6,
	    0xc000, 80, 2, 0, 0, 0, 54, 2 },
	{ "IPv6 in an IPv4 frame", 1, ETH "0800" V6_TCP, -EBADMSG },
	{ "IPv4 in an IPv6 frame", 1, ETH "86dd" V4_TCP "00000000000000000000", -EBADMSG },
	{ "a first fragment", 1, ETH "0800" IP4_FRAG("0028", "2000", "06") TCP_SYN, 0, 6, 0xc000,
	    80, 2, FRAME_F_FIRST_FRAGMENT, 0, 0, 54, 0 },
	{ "a first fragment of a longer datagram", 1,
	    ETH "0800" IP4_FRAG("0020", "2000", "11") "c000 0035 0c00 0000 61626364", 0, 17, 0xc000,
	    53, 0, FRAME_F_FIRST_FRAGMENT, 0, 0, 42, 4 },
	{ "a later fragment", 1, ETH "0800" IP4_FRAG("0028", "0001", "06") TCP_SYN, -ENODATA },
	{ "the last fragment", 1, ETH "0800" IP4_FRAG("001c", "00b9", "11") UDP8, -ENODATA },
	{ "a tiny first fragment of TCP", 1,
	    ETH "0800" IP4_FRAG("001c", "2000", "06") "c000 0050 00000001", -EBADMSG },
	{ "with its flags", 1,
	    ETH "0800" IP4_FRAG("0024", "2000", "06") "c000 0050 00000001 00000000 50 02 ffff", 0,
	    6, 0xc000, 80, 2, FRAME_F_FIRST_FRAGMENT, 0, 0, 50, 0 },
	{ "with half of its flags", 1,
	    ETH "0800" IP4_FRAG("0021", "2000", "06") "c000 0050 00000001 00000000 50", -EBADMSG },
	{ "TCP header length below 20", 1,
	    ETH "0800" IP4("0028", "06") "c000 0050 00000001 00000000 40 02 ffff 0000 0000",
	    -EBADMSG },
	{ "TCP header length beyond the packet", 1,
	    ETH "0800" IP4("0028", "06") "c000 0050 00000001 00000000 60 02 ffff 0000 0000",
	    -EBADMSG },
	{ "UDP longer than its packet", 1, ETH "0800" IP4("001c", "11") "c000 0035 0009 0000", 0,
	    17, 0xc000, 53, 0, 0, 0, 0, 42, 0 },
	{ "UDP shorter than its header", 1, ETH "0800" IP4("001c", "11") "c000 0035 0007 0000",
	    -EBADMSG },
	{ "UDP length 0 in IPv4", 1, ETH "0800" IP4("001c", "11") "c000 0035 0000 0000", -EBADMSG },
	{ "UDP length 0 in IPv6", 1, ETH "86dd" IP6("000a", "11") "c000 0035 0000 0000 6162", 0, 17,
	    0xc000, 53, 0, 0, 0, 0, 62, 2 },
	{ "SCTP", 1, ETH "0800" IP4("0020", "84") "0b59 0b5a 00000000 00000000", 0, 132, 0x0b59,
	    0x0b5a, 0, 0, 0, 0, 46, 0 },
	{ "GRE has no ports", 1, ETH "0800" IP4("0018", "2f") "00000800", 0, 47, 0, 0, 0, 0, 0, 0,
	    34, 4 },
	{ "IP in IP is not entered", 1, ETH "0800" IP4("0030", "04") V4_UDP, 0, 4, 0, 0, 0, 0, 0, 0,
	    34, 28 },
	{ "ICMP echo", 1, ETH "0800" IP4("001c", "01") "08 00 0000 1234 0001", 0, 1, 0x1234, 0x0800,
	    0, 0, 8, 0, 42, 0 },
	{ "ICMP echo reply", 1, ETH "0800" IP4("001c", "01") "00 00 0000 1234 0001", 0, 1, 0x1234,
	    0, 0, 0, 0, 0, 42, 0 },
	{ "ICMP unreachable has no identifier", 1,
	    ETH "0800" IP4("001c", "01") "03 0d 0000 1234 0001", 0, 1, 0, 0x030d, 0, 0, 3, 0, 42,
	    0 },
	{ "ICMP echo without identifier", 1, ETH "0800" IP4("0018", "01") "08 00 0000", -EBADMSG },
	{ "ICMPv6 echo", 1, ETH "86dd" IP6("0008", "3a") "80 00 0000 1234 0001", 0, 58, 0x1234,
	    0x8000, 0, 0, 128, 0, 62, 0 },
	{ "ICMPv6 neighbour solicitation", 1, ETH "86dd" IP6("0008", "3a") "87 00 0000 0000 0000",
	    0, 58, 0, 0x8700, 0, 0, 135, 0, 62, 0 },
	{ "ICMPv6 inside IPv4", 1, ETH "0800" IP4("001c", "3a") "80 00 0000 1234 0001", -EBADMSG },
	{ "ICMP inside IPv6", 1, ETH "86dd" IP6("0008", "01") "08 00 0000 1234 0001", -EBADMSG },
	{ "hop-by-hop and destination options", 1,
	    ETH "86dd" IP6("0024", "00") "3c 00 000000000000 06 00 000000000000" TCP_SYN, 0, 6,
	    0xc000, 80, 2, 0, 0, 0, 90, 0 },
	{ "routing header of 24 bytes", 1,
	    ETH
	    "86dd" IP6("0020", "2b") "11 02 000000000000 0000000000000000 0000000000000000" UDP8,
	    0, 17, 0xc000, 53, 0, 0, 0, 0, 86, 0 },
	{ "authentication header", 1,
	    ETH "86dd" IP6("0014", "33") "11 01 0000 00000001 00000001" UDP8, 0, 17, 0xc000, 53, 0,
	    0, 0, 0, 74, 0 },
	{ "IPv6 first fragment", 1, ETH "86dd" IP6("0010", "2c") "11 00 0001 00000007" UDP8, 0, 17,
	    0xc000, 53, 0, FRAME_F_FIRST_FRAGMENT, 0, 0, 70, 0 },
	{ "IPv6 atomic fragment", 1, ETH "86dd" IP6("0010", "2c") "11 00 0000 00000007" UDP8, 0, 17,
	    0xc000, 53, 0, 0, 0, 0, 70, 0 },
	{ "IPv6 later fragment", 1, ETH "86dd" IP6("0010", "2c") "11 00 0008 00000007" UDP8,
	    -ENODATA },
	{ "no next header", 1, ETH "86dd" IP6("0000", "3b"), -ENODATA },
	{ "eight extension headers", 1,
	    ETH "86dd" IP6("0048", "3c") "3c00000000000000 3c00000000000000 3c00000000000000"
					 "3c00000000000000 3c00000000000000 3c00000000000000"
					 "3c00000000000000 1100000000000000" UDP8,
	    0, 17, 0xc000, 53, 0, 0, 0, 0, 126, 0 },
	{ "nine extension headers", 1,
	    ETH "86dd" IP6("0050", "3c") "3c00000000000000 3c00000000000000 3c00000000000000"
					 "3c00000000000000 3c00000000000000 3c00000000000000"
					 "3c00000000000000 3c00000000000000 1100000000000000" UDP8,
	    0, 17, 0xc000, 53, 0, 0, 0, 0, 134, 0 },
	{ "IPv4 authentication header", 1,
	    ETH "0800" IP4("0028", "33") "11 01 0000 00000001 00000001" UDP8, 0, 17, 0xc000, 53, 0,
	    0, 0, 0, 54, 0 },
	{ "IPv4 authentication header around IP", 1,
	    ETH "0800" IP4("003c", "33") "04 01 0000 00000001 00000001" V4_UDP, 0, 4, 0, 0, 0, 0, 0,
	    0, 46, 28 },
	{ "two authentication headers", 1,
	    ETH "0800" IP4("0034", "33") "33 01 0000 00000001 00000001 11 01 0000 00000001"
					 "00000001" UDP8,
	    0, 17, 0xc000, 53, 0, 0, 0, 0, 66, 0 },
	{ "an authentication header beyond the packet", 1,
	    ETH "0800" IP4("0028", "33") "11 09 0000 00000001 00000001" UDP8, -EBADMSG },
	{ "a later fragment behind an authentication header", 1,
	    ETH "0800" IP4_FRAG("0028", "0001", "33") "11 01 0000 00000001 00000001" UDP8,
	    -ENODATA },
	{ "an extension beyond the packet", 1, ETH "86dd" IP6("0010", "3c") "11ff000000000000" UDP8,
	    -EBADMSG },
	{ "a mapped source would forge an IPv4 tuple", 1,
	    ETH "86dd 60000000 0008 11 40 00000000000000000000ffff0a000001"
		"00000000000000000000ffff0a000002" UDP8,
	    -EBADMSG },
	{ "one mapped address would mix families", 1,
	    ETH "86dd 60000000 0008 11 40 00000000000000000000ffff0a000001"
		"fd000000000000000000000000000002" UDP8,
	    -EBADMSG },
	{ "raw IPv4", 12, V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 40, 0 },
	{ "raw IPv6", 101, V6_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 60, 0 },
	{ "raw, the third number", 14, V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 40, 0 },
	{ "raw, no version", 12, "00", -EBADMSG },
	{ "IPv4 only", 228, V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 40, 0 },
	{ "IPv6 on an IPv4-only link", 228, V6_TCP, -EBADMSG },
	{ "IPv6 only", 229, V6_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 60, 0 },
	{ "null, little endian", 0, "02000000" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 44, 0 },
	{ "null, big endian", 0, "00000002" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 44, 0 },
	{ "null, IPv6 of Darwin", 0, "1e000000" V6_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 64, 0 },
	{ "null, another family", 0, "10000000" V4_TCP, -ENODATA },
	{ "loop", 108, "0000000a" V6_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 64, 0 },
	{ "PPP", 9, "ff03 0021" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 44, 0 },
	{ "PPP without address", 9, "0021" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 42, 0 },
	{ "PPP with a short protocol", 9, "21" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 41, 0 },
	{ "cooked, incoming", 113, "0000 0001 0006 020000000001 0000 0800" V4_TCP, 0, 6, 0xc000, 80,
	    2, 0, 0, 0, 56, 0 },
	{ "cooked, outgoing", 113, "0004 0001 0006 020000000001 0000 0800" V4_TCP, 0, 6, 0xc000, 80,
	    2, FRAME_F_OUTGOING, 0, 0, 56, 0 },
	{ "cooked 2", 276, "0800 0000 0000002a 0001 00 06 0200000000010000" V4_TCP, 0, 6, 0xc000,
	    80, 2, 0, 0, 42, 60, 0 },
	{ "cooked 2, outgoing, tagged", 276,
	    "8100 0000 0000002a 0001 04 06 0200000000010000 0005 86dd" V6_TCP, 0, 6, 0xc000, 80, 2,
	    FRAME_F_OUTGOING, 0, 42, 84, 0 },
	{ "802.3 with SNAP", 1, ETH "0030 aaaa03 000000 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    62, 0 },
	{ "802.3 with another SNAP", 1, ETH "0030 aaaa03 00000c 0800" V4_TCP, -ENODATA },
	{ "802.3 too short for LLC", 1, ETH "0002 4242", -EBADMSG },
	{ "MPLS, two labels", 1, ETH "8847 00010040 00020140" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    62, 0 },
	{ "MPLS over something else", 1, ETH "8847 00020140 00000000", -ENODATA },
	{ "MPLS, nine labels", 1,
	    ETH "8847 00010040 00010040 00010040 00010040 00010040 00010040 00010040 00010040"
		"00010140" V4_TCP,
	    0, 6, 0xc000, 80, 2, 0, 0, 0, 90, 0 },
	{ "MPLS without a bottom", 1, ETH "8847 00010040 00010040", -EBADMSG },
	{ "MPLS as the link", 219, "00020140" V6_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 64, 0 },
	{ "PPP in HDLC framing", 50, "ff03 0021" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 44, 0 },
	{ "Cisco HDLC by its first byte", 50, "0f00 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 44,
	    0 },
	{ "Cisco HDLC", 104, "0f00 86dd" V6_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 64, 0 },
	{ "PPPoE as the link", 51, "11 00 0001 002a 0021" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 48,
	    0 },
	{ "frame relay", 107, "1841 03 cc" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 44, 0 },
	{ "frame relay, no user data", 107, "1841 00 cc" V4_TCP, -EBADMSG },
	{ "token ring with a route", 6,
	    "1040 820000000001 020000000002 0600aabbccdd aaaa03 000000 0800" V4_TCP, -ENODATA },
	{ "token ring with its route bit", 6,
	    "1040 020000000001 820000000002 0600aabbccdd aaaa03 000000 0800" V4_TCP, 0, 6, 0xc000,
	    80, 2, 0, 0, 0, 68, 0 },
	{ "FDDI", 10, "50 020000000001 020000000002 aaaa03 000000 86dd" V6_TCP, 0, 6, 0xc000, 80, 2,
	    0, 0, 0, 81, 0 },
	{ "ATM with LLC", 11, "aaaa03 000000 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 48, 0 },
	{ "802.11 data", 105, "0801 0000" ETH "020000000003 0000 aaaa03 000000 0800" V4_TCP, 0, 6,
	    0xc000, 80, 2, 0, 0, 0, 72, 0 },
	{ "802.11 QoS data between stations", 105,
	    "8803 0000" ETH "020000000003 0000 020000000004 0000 aaaa03 000000 0800" V4_TCP, 0, 6,
	    0xc000, 80, 2, 0, 0, 0, 80, 0 },
	{ "802.11 beacon", 105, "8000 0000" ETH "020000000003 0000", -ENODATA },
	{ "802.11 encrypted", 105, "0841 0000" ETH "020000000003 0000 aaaa03 000000 0800" V4_TCP,
	    -ENODATA },
	{ "radiotap", 127,
	    "0000 0900 00000000 00 0801 0000" ETH "020000000003 0000 aaaa03 000000"
	    "0800" V4_TCP,
	    0, 6, 0xc000, 80, 2, 0, 0, 0, 81, 0 },
	{ "radiotap longer than the frame", 127, "0000 ff00 00000000 00 0801 0000", -EBADMSG },
	{ "AVS", 163,
	    "80211001 00000008 0801 0000" ETH "020000000003 0000 aaaa03 000000 0800" V4_TCP, 0, 6,
	    0xc000, 80, 2, 0, 0, 0, 80, 0 },
	{ "PPI around Ethernet", 192, "0000 0800 01000000" ETH "0800" V4_TCP, 0, 6, 0xc000, 80, 2,
	    0, 0, 0, 62, 0 },
	{ "PPI around itself", 192, "0000 0800 c0000000 0000 0800 01000000" ETH "0800" V4_TCP,
	    -ENODATA },
	{ "PPI shorter than itself", 192, "0000 0000 c8000000" ETH "0800" V4_TCP, -EBADMSG },
	{ "PPI around what carries no IP", 192, "0000 0800 bd000000 00", -ENODATA },
	{ "OpenBSD's enc", 109, "02000000 00000001 00000000" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    52, 0 },
	{ "pflog", 117, "05 02 00 00 00 000000" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 48, 0 },
	{ "nflog", 239, "02 00 0001 0500 0a00 78000000 2c00 0900" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0,
	    0, 56, 0 },
	{ "nflog without a packet", 239, "02 00 0001 0500 0a00 78000000", -ENODATA },
	{ "nflog with an empty attribute", 239, "02 00 0001 0000 0a00 78000000", -EBADMSG },
	{ "cooked, 802.3 of Novell", 113, "0000 0001 0006 020000000001 0000 0001 ffff0022",
	    -ENODATA },
	{ "cooked, 802.2", 113, "0000 0001 0006 020000000001 0000 0004 aaaa03 000000 0800" V4_TCP,
	    0, 6, 0xc000, 80, 2, 0, 0, 0, 64, 0 },
	{ "cooked, another number of its own", 113, "0000 0001 0006 020000000001 0000 000c 4500",
	    -ENODATA },
	{ "cooked 2, 802.2", 276,
	    "0004 0000 0000002a 0001 00 06 0200000000010000 aaaa03 000000 0800" V4_TCP, 0, 6,
	    0xc000, 80, 2, 0, 0, 42, 68, 0 },
	{ "802.2 with IP's own number", 1, ETH "002b 060603" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    57, 0 },
	{ "PPP with MPLS", 9, "ff03 0281 00010140" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 48, 0 },
	{ "PPP of pppd, incoming", 166, "00 03 0021" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 44, 0 },
	{ "PPP of pppd, outgoing", 166, "01 03 0057" V6_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 64, 0 },
	{ "PPP of pppd, without a direction", 166, "ff03 0021" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    44, 0 },
	{ "PPP with a direction", 204, "01 ff03 0021" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 45, 0 },
	{ "Cisco HDLC with a direction", 205, "00 0f00 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    45, 0 },
	{ "frame relay with a direction", 206, "01 1841 03 cc" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    45, 0 },
	{ "frame relay with padding and SNAP", 107, "1841 03 00 80 000000 0800" V4_TCP, 0, 6,
	    0xc000, 80, 2, 0, 0, 0, 50, 0 },
	{ "frame relay with another SNAP", 107, "1841 03 00 80 0080c2 000e" V4_TCP, -ENODATA },
	{ "Cisco's frame relay", 107, "1841 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 44, 0 },
	{ "SLIP", 8, "00 45 0000000000000000000000000000" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 56,
	    0 },
	{ "SLIP of BSD/OS", 102, "00000000000000000000000000000000 0000000000000000" V4_TCP, 0, 6,
	    0xc000, 80, 2, 0, 0, 0, 64, 0 },
	{ "SLIP cut in its header", 8, "00 45", -EBADMSG },
	{ "ATM CLIP with LLC", 106, "aaaa03 000000 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 48,
	    0 },
	{ "ATM CLIP without", 106, "" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 40, 0 },
	{ "IP over fibre channel", 122,
	    "1000000000000001 1000000000000002 aaaa03 000000 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0,
	    0, 0, 64, 0 },
	{ "SunATM, LLC", 123, "02 00 0021 aaaa03 000000 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    52, 0 },
	{ "SunATM, LAN emulation", 123, "81 00 0021 0001" ETH "0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0,
	    0, 0, 60, 0 },
	{ "SunATM, signalling", 123, "06 00 0005 09030000", -ENODATA },
	{ "Juniper Ethernet", 178, "4d4743 00" ETH "0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 58,
	    0 },
	{ "Juniper Ethernet with more of a header", 178,
	    "4d4743 80 0004 01010203" ETH "86dd" V6_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 84, 0 },
	{ "Juniper without a link", 178, "4d4743 02 00000002" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    48, 0 },
	{ "Juniper without its number", 178, "4d4744 00" ETH "0800" V4_TCP, -EBADMSG },
	{ "Juniper with more than there is", 178, "4d4743 80 ffff 01010203", -EBADMSG },
	{ "Juniper PPP", 179, "4d4743 00 ff03 0021" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 48, 0 },
	{ "Juniper frame relay", 180, "4d4743 00 1841 03 cc" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    48, 0 },
	{ "Juniper Cisco HDLC", 181, "4d4743 00 0f00 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 48,
	    0 },
	{ "IPNET", 226, "01 02 0000 00000028 00000001 00000001 00000000 00000000" V4_TCP, 0, 6,
	    0xc000, 80, 2, 0, 0, 0, 64, 0 },
	{ "IPNET, IPv6", 226, "01 1a 0000 0000003c 00000001 00000001 00000000 00000000" V6_TCP, 0,
	    6, 0xc000, 80, 2, 0, 0, 0, 84, 0 },
	{ "netANALYZER", 240, "00000000" ETH "0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 58, 0 },
	{ "netANALYZER with preamble", 241, "00000000 55555555555555d5" ETH "0800" V4_TCP, 0, 6,
	    0xc000, 80, 2, 0, 0, 0, 66, 0 },
	{ "IP over InfiniBand", 242,
	    "60000000 0000 00 00 00000000000000000000000000000000 00000000000000000000000000000000"
	    "0800 0000" V4_TCP,
	    0, 6, 0xc000, 80, 2, 0, 0, 0, 84, 0 },
	{ "PKTAP around Ethernet", 258, "10000000 01000000 01000000 00000000" ETH "0800" V4_TCP, 0,
	    6, 0xc000, 80, 2, 0, 0, 0, 70, 0 },
	{ "PKTAP around PPI", 258,
	    "0c000000 01000000 c0000000 0000 0800 01000000" ETH "0800" V4_TCP, -ENODATA },
	{ "PKTAP of something else", 258, "0c000000 02000000 01000000" ETH "0800" V4_TCP,
	    -ENODATA },
	{ "PKTAP shorter than itself", 258, "08000000 01000000 01000000" ETH "0800" V4_TCP,
	    -EBADMSG },
	{ "EPON", 259, "55555555555555d5" ETH "0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 62, 0 },
	{ "DSA, Broadcom", 281, ETH "20000001 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 58, 0 },
	{ "DSA, Broadcom in front", 282, "20000001" ETH "0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    58, 0 },
	{ "DSA, Marvell", 284, ETH "c0000000 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 58, 0 },
	{ "DSA, Marvell with a type", 285, ETH "dada0000 c0000000 0800" V4_TCP, 0, 6, 0xc000, 80, 2,
	    0, 0, 0, 62, 0 },
	{ "IEEE 802.15.4 is no DSA", 283, ETH "c0000000 0800" V4_TCP, -EBADMSG },
	{ "ERF, Ethernet", 197, "0000000000000000 02 04 0048 0000 0036 0000" ETH "0800" V4_TCP, 0,
	    6, 0xc000, 80, 2, 0, 0, 0, 72, 0 },
	{ "ERF, Ethernet, two more headers", 197,
	    "0000000000000000 82 04 0048 0000 0036 83000000 00000000 03000000 00000000 0000" ETH
	    "0800" V4_TCP,
	    0, 6, 0xc000, 80, 2, 0, 0, 0, 88, 0 },
	{ "ERF, headers without end", 197,
	    "0000000000000000 82 04 0048 0000 0036 83000000 00000000", -EBADMSG },
	{ "ERF, HDLC", 197, "0000000000000000 01 04 003c 0000 002c ff03 0021" V4_TCP, 0, 6, 0xc000,
	    80, 2, 0, 0, 0, 60, 0 },
	{ "ERF, IPv6", 197, "0000000000000000 17 04 004c 0000 003c" V6_TCP, 0, 6, 0xc000, 80, 2, 0,
	    0, 0, 76, 0 },
	{ "ERF, what its card says of itself", 197, "0000000000000000 1b 04 0020 0000 0000",
	    -ENODATA },
	{ "TZSP, Ethernet", 128, "0100 0001 00 0a01ff 01" ETH "0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0,
	    0, 0, 63, 0 },
	{ "TZSP without an end", 128, "0100 0001 0a01", -EBADMSG },
	{ "TZSP, kept alive", 128, "0104 0001 01", -ENODATA },
	{ "IP over FireWire", 138, "0200000000000001 0200000000000002 0800" V4_TCP, 0, 6, 0xc000,
	    80, 2, 0, 0, 0, 58, 0 },
	{ "Symantec 2", 99,
	    "000000000000 0800 "
	    "000000000000000000000000000000000000000000000000000000000000000000000000" V4_TCP,
	    0, 6, 0xc000, 80, 2, 0, 0, 0, 84, 0 },
	{ "Cisco HDLC of NetBSD", 112, "0f00 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 44, 0 },
	{ "enc by OpenBSD's number", 13, "02000000 00000001 00000000" V4_TCP, 0, 6, 0xc000, 80, 2,
	    0, 0, 0, 52, 0 },
	{ "Juniper ATM 1", 137, "4d4743 00 00000000 aaaa03 000000 0800" V4_TCP, 0, 6, 0xc000, 80, 2,
	    0, 0, 0, 56, 0 },
	{ "Juniper ATM 2, IP at once", 135, "4d4743 00 0000000000000000" V4_TCP, 0, 6, 0xc000, 80,
	    2, 0, 0, 0, 52, 0 },
	{ "Juniper PPPoE", 167, "4d4743 00" ETH "8864 11 00 0001 002a 0021" V4_TCP, 0, 6, 0xc000,
	    80, 2, 0, 0, 0, 66, 0 },
	{ "Juniper voice", 183, "4d4743 00 000000000000000000000000000000000000" V4_TCP, 0, 6,
	    0xc000, 80, 2, 0, 0, 0, 62, 0 },
	{ "ATM, bridged", 100, "aaaa03 0080c2 0007 0000" ETH "0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0,
	    0, 0, 64, 0 },
	{ "ATM, bridged in bridged", 100,
	    "aaaa03 0080c2 0007 0000" ETH "0048 aaaa03 0080c2 0007 0000" ETH "0800" V4_TCP,
	    -ENODATA },
	{ "frame relay, bridged", 107, "1841 03 00 80 0080c2 0007" ETH "0800" V4_TCP, 0, 6, 0xc000,
	    80, 2, 0, 0, 0, 64, 0 },
	{ "Cisco HDLC, bridged", 104, "0f00 6558" ETH "0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    58, 0 },
	{ "SNAP of 802.1H", 1, ETH "0030 aaaa03 0000f8 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    62, 0 },
	{ "Cisco's metadata", 1, ETH "8909 01010001 0001 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    62, 0 },
	{ "VN-Tag around a VLAN", 1, ETH "8926 00000000 8100 0005 0800" V4_TCP, 0, 6, 0xc000, 80, 2,
	    0, 0, 0, 64, 0 },
	{ "HSR", 1, ETH "892f 0040 0001 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 60, 0 },
	{ "E-Tag", 1, ETH "893f 0000 0000 0000 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 62, 0 },
	{ "MACsec, not encrypted", 1, ETH "88e5 20 00 00000001 0200000000010001 0800" V4_TCP, 0, 6,
	    0xc000, 80, 2, 0, 0, 0, 70, 0 },
	{ "MACsec, encrypted", 1, ETH "88e5 2c 00 00000001 0200000000010001 0800" V4_TCP,
	    -ENODATA },
	{ "MACsec, its text changed alone", 1, ETH "88e5 04 00 00000001 0800" V4_TCP, -ENODATA },
	{ "MACsec, cut", 1, ETH "88e5 20 00 00000001 0200000000010001 08", -EBADMSG },
	{ "NSH, a frame in it", 1, ETH "894f 0fc2 0203 00000100" ETH "0800" V4_TCP, 0, 6, 0xc000,
	    80, 2, 0, 0, 0, 76, 0 },
	{ "NSH, a frame in a frame", 1,
	    ETH "894f 0fc2 0203 00000100" ETH "894f 0fc2 0203 00000100" ETH "0800" V4_TCP,
	    -ENODATA },
	{ "NSH, of something else", 1, ETH "894f 0fc2 0204 00000100" V4_TCP, -ENODATA },
	{ "NSH, shorter than itself", 1, ETH "894f 0fc1 0201 00000100" V4_TCP, -EBADMSG },
	{ "NSH, cut", 1, ETH "894f 0fc6 0101 00000100", -EBADMSG },
	{ "MAC in MAC", 1, ETH "88e7 00000001" ETH "0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 72,
	    0 },
	{ "802.11, several packets in one frame", 105,
	    "8801 0000" ETH
	    "020000000003 0000 8000 020000000001 020000000002 0030 aaaa03 000000 0800" V4_TCP,
	    0, 6, 0xc000, 80, 2, 0, 0, 0, 88, 0 },
	{ "802.11, several packets, cut", 105, "8801 0000" ETH "020000000003 0000 8000 0200",
	    -EBADMSG },
	{ "radiotap, a header with padding", 127,
	    "0000 0900 02000000 20 8801 0000" ETH
	    "020000000003 0000 0000 0000 aaaa03 000000 0800" V4_TCP,
	    0, 6, 0xc000, 80, 2, 0, 0, 0, 85, 0 },
	{ "radiotap, padding said behind a clock", 127,
	    "0000 1900 03000080 00000000 00000000 0102030405060708 20 8801 0000" ETH
	    "020000000003 0000 0000 0000 aaaa03 000000 0800" V4_TCP,
	    0, 6, 0xc000, 80, 2, 0, 0, 0, 101, 0 },
	{ "radiotap with flags and no padding", 127,
	    "0000 0900 02000000 10 8801 0000" ETH
	    "020000000003 0000 0000 aaaa03 000000 0800" V4_TCP,
	    0, 6, 0xc000, 80, 2, 0, 0, 0, 83, 0 },
	{ "cooked, a wireless device", 113,
	    "0000 0321 0006 020000000001 0000 0004 0801 0000" ETH
	    "020000000003 0000 aaaa03 000000 0800" V4_TCP,
	    0, 6, 0xc000, 80, 2, 0, 0, 0, 88, 0 },
	{ "cooked, with Prism's header", 113,
	    "0000 0322 0006 020000000001 0000 0004 80211001 00000008 0801 0000" ETH
	    "020000000003 0000 aaaa03 000000 0800" V4_TCP,
	    0, 6, 0xc000, 80, 2, 0, 0, 0, 96, 0 },
	{ "cooked 2, radiotap", 276,
	    "0004 0000 0000002a 0323 00 06 0200000000010000 0000 0800 00000000 0801 0000" ETH
	    "020000000003 0000 aaaa03 000000 0800" V4_TCP,
	    0, 6, 0xc000, 80, 2, 0, 0, 42, 100, 0 },
	{ "802.1CB", 1, ETH "f1c1 0000 0001 0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 60, 0 },
	{ "ARCNET", 7, "0102 d4 00 0001" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 46, 0 },
	{ "ARCNET, the first of several", 7, "0102 d4 03 0001" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    46, 0 },
	{ "ARCNET, a later one", 7, "0102 d4 02 0001" V4_TCP, -ENODATA },
	{ "ARCNET, an exception", 7, "0102 d4 ff 0000 d4 00 0001" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0,
	    0, 50, 0 },
	{ "ARCNET, an exception that is cut", 7, "0102 d4 ff 0000", -EBADMSG },
	{ "ARCNET cut before its sequence", 7, "0102 d4 00 00", -EBADMSG },
	{ "ARCNET as it was", 7, "0102 f0" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 43, 0 },
	{ "ARCNET, ARP", 7, "0102 d5 00 0001 0001", -ENODATA },
	{ "ARCNET without a protocol", 7, "0102", -EBADMSG },
	{ "ARCNET of Linux", 129, "0102 0000 d4 00 0001" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 48,
	    0 },
	{ "ARCNET of Linux, cut", 129, "0102 00", -EBADMSG },
	{ "AX.25", 3, AX25 "03 cc" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 56, 0 },
	{ "AX.25, numbered", 3, AX25 "22 cc" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 56, 0 },
	{ "AX.25, text", 3, AX25 "03 f0 68656c6c6f", -ENODATA },
	{ "AX.25, ready to receive", 3, AX25 "21 cc" V4_TCP, -ENODATA },
	{ "AX.25, one end", 3, "84848484848461 03 cc" V4_TCP, -EBADMSG },
	{ "AX.25, no end of addresses", 3,
	    CALL CALL CALL CALL CALL CALL CALL CALL CALL AX25 "03 cc" V4_TCP, -EBADMSG },
	{ "AX.25, by eight repeaters", 3,
	    CALL CALL CALL CALL CALL CALL CALL CALL AX25 "03 cc" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0,
	    0, 112, 0 },
	{ "AX.25 without its kind", 3, AX25 "03", -EBADMSG },
	{ "AX.25 of a modem", 202, "00" AX25 "03 cc" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 57, 0 },
	{ "a modem's settings", 202, "01 32", -ENODATA },
	{ "Juniper, multilink PPP", 130, "4d4743 01 ff03 0021" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0,
	    48, 0 },
	{ "DOCSIS", 143, "00 05 0036 0000" ETH "0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 60, 0 },
	{ "DOCSIS, isolated, with more of a header", 143,
	    "81 04 003a 01000000 0000" ETH "0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 64, 0 },
	{ "DOCSIS, encrypted", 143, "01 05 003b 4410800100 0000" ETH "0800" V4_TCP, -ENODATA },
	{ "DOCSIS, of which encryption is off", 143, "01 05 003b 4410000100 0000" ETH "0800" V4_TCP,
	    0, 6, 0xc000, 80, 2, 0, 0, 0, 65, 0 },
	{ "DOCSIS, a check that is no element", 143, "01 02 0038 4210 8000" ETH "0800" V4_TCP, 0, 6,
	    0xc000, 80, 2, 0, 0, 0, 62, 0 },
	{ "DOCSIS, the modem's own", 143, "c2 00 0036 0000" ETH "0800" V4_TCP, -ENODATA },
	{ "DOCSIS, more header than frame", 143, "01 04 0003 01000000 0000" ETH "0800" V4_TCP,
	    -EBADMSG },
	{ "DOCSIS, its header cut", 143, "01 04 003a 0100 0000", -EBADMSG },
	{ "DOCSIS, shorter than its packet", 143, "00 00 0020 0000" ETH "0800" V4_TCP, -EBADMSG },
	{ "DOCSIS, cut", 143, "00 00 0036 00", -EBADMSG },
	{ "EBHSCR", 279, "50" ZERO31 ETH "0800" V4_TCP, 0, 6, 0xc000, 80, 2, 0, 0, 0, 86, 0 },
	{ "EBHSCR, a position", 279, "51" ZERO31 ETH "0800" V4_TCP, -ENODATA },
	{ "EBHSCR, cut", 279, "50 00", -EBADMSG },
	{ "cooked 2, ARP", 276, "0806 0000 0000002a 0001 00 06 0200000000010000 0001", -ENODATA },
	{ "a link type nobody knows", 147, V4_TCP, -EBADMSG },
	{ "nothing", 1, "", -EBADMSG },
};

static size_t
unhex(const char *hex, uint8_t *out, size_t max)
{
	size_t n = 0;
	unsigned byte;

	while (*hex != '\0') {
		if (*hex == ' ') {
			hex++;
			continue;
		}
		assert_true(n < max);
		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		out[n++] = (uint8_t)byte;
		hex += 2;
	}
	return n;
}

static void
check_case(const struct frame_case *t, const struct frame_info *f)
{
	if (f->tuple.proto != t->proto || f->tuple.sport != t->sport || f->tuple.dport != t->dport)
		fail_msg("%s: proto %u, %u -> %u", t->what, f->tuple.proto, f->tuple.sport,
		    f->tuple.dport);
	if (f->tcp_flags != t->tcp_flags || f->flags != t->flags || f->icmp_type != t->icmp_type ||
	    f->ifindex != t->ifindex)
		fail_msg("%s: tcp %x, flags %x, icmp %u, if %u", t->what, f->tcp_flags, f->flags,
		    f->icmp_type, f->ifindex);
	if (f->payload_off != t->payload_off || f->payload_len != t->payload_len)
		fail_msg("%s: payload %u+%u", t->what, f->payload_off, f->payload_len);
}

static void
each_frame_gives_its_tuple_or_its_error(void **state)
{
	uint8_t buf[512];
	struct frame_info f;
	size_t n;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		n = unhex(cases[i].hex, buf, sizeof(buf));
		memset(&f, 0xee, sizeof(f));
		r = frame_parse(cases[i].link, buf, n, &f);
		if (r != cases[i].expect)
			fail_msg("%s: got %d", cases[i].what, r);
		if (r == 0)
			check_case(&cases[i], &f);
		else if (((uint8_t *)&f)[0] != 0xee)
			fail_msg("%s: touched its output", cases[i].what);
	}
}

static void
addresses_are_as_on_the_wire(void **state)
{
	uint8_t buf[512];
	struct frame_info f;
	char src[ADDR_STRLEN], dst[ADDR_STRLEN];
	size_t n;

	n = unhex(V4_TCP, buf, sizeof(buf));
	assert_int_equal(frame_parse(FRAME_RAW, buf, n, &f), 0);
	assert_string_equal(addr_format(&f.tuple.src, src), "10.0.0.1");
	assert_string_equal(addr_format(&f.tuple.dst, dst), "10.0.0.2");
	n = unhex(V6_TCP, buf, sizeof(buf));
	assert_int_equal(frame_parse(FRAME_RAW, buf, n, &f), 0);
	assert_string_equal(addr_format(&f.tuple.src, src), "fd00::1");
	assert_string_equal(addr_format(&f.tuple.dst, dst), "fd00::2");
}

/* Never a wrong tuple from a part of a frame: the ports, or an error. */
static void
a_cut_frame_gives_the_same_tuple_or_an_error(void **state)
{
	uint8_t whole[512], *part;
	struct frame_info f, full;
	size_t n;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		n = unhex(cases[i].hex, whole, sizeof(whole));
		if (frame_parse(cases[i].link, whole, n, &full) != 0)
			continue;
		for (size_t len = 0; len < n; len++) {
			part = malloc(MAX(len, (size_t)1));
			assert_non_null(part);
			memcpy(part, whole, len);
			r = frame_parse(cases[i].link, part, len, &f);
			free(part);
			if (r == 0 && memcmp(&f.tuple, &full.tuple, sizeof(f.tuple)) != 0)
				fail_msg("%s cut at %zu: another tuple", cases[i].what, len);
			if (r == 0 && f.payload_off + f.payload_len > len)
				fail_msg("%s cut at %zu: payload outside", cases[i].what, len);
			if (r == 0 && f.tcp_flags != 0 && f.tcp_flags != full.tcp_flags)
				fail_msg("%s cut at %zu: other flags", cases[i].what, len);
		}
	}
}

static void
only_known_link_types_are_supported(void **state)
{
	static const int known[] = { 0, 1, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 19, 50, 51, 99,
		100, 101, 102, 104, 105, 106, 107, 108, 109, 112, 113, 117, 119, 122, 123, 127, 128,
		129, 130, 135, 137, 138, 143, 163, 166, 167, 178, 179, 180, 181, 183, 192, 197, 202,
		204, 205, 206, 219, 226, 228, 229, 239, 240, 241, 242, 258, 259, 276, 279, 281, 282,
		284, 285 };
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		assert_true(frame_link_supported(known[i]));
	for (int link = -5; link < 400; link++)
		n += frame_link_supported(link);
	assert_int_equal(n, ARRAY_SIZE(known));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_frame_gives_its_tuple_or_its_error),
		cmocka_unit_test(addresses_are_as_on_the_wire),
		cmocka_unit_test(a_cut_frame_gives_the_same_tuple_or_an_error),
		cmocka_unit_test(only_known_link_types_are_supported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
