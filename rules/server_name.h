/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The name of the server that a client's first packet carries in the clear: server_name of a TLS
 * ClientHello (RFC 6066), Host of an HTTP/1 request. Anybody may write there what he likes: it is a
 * label to show, and nothing decides by it.
 */
#ifndef NANOSEG_RULES_SERVER_NAME_H
#define NANOSEG_RULES_SERVER_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVER_NAME_MAX 254	/* 253 and the end */
#define SERVER_NAME_HELLO 16384 /* bytes of a handshake that are looked at */

enum server_name_kind {
	SERVER_NAME_SNI = 1,
	SERVER_NAME_HTTP,
};

struct server_name {
	enum server_name_kind kind;
	char name[SERVER_NAME_MAX]; /* in lower case, without a port and a last dot */
};

/* Can the payload be one of the two? By its first bytes, for those that are asked for each frame.
 */
bool server_name_may_be(const uint8_t *buf, size_t len);
/*
 * The payload of one segment, from the first byte that a client sends, or of a later request.
 * 0: *ret is filled. -ENODATA: it is one of the two, and what is here of it has no name: there is
 * none (an address is none), or it is in another segment. -EBADMSG: neither of them, malformed, or
 * two names.
 */
int server_name_parse(const uint8_t *buf, size_t len, struct server_name *ret);
/*
 * Letters in lower case, digits, '-', '_' and dots between labels of 1 to 63 bytes, 253 at most,
 * and not an IPv4 address.
 */
bool server_name_valid(const char *name);
/* "sni" or "host". NULL: no such kind. */
const char *server_name_kind(enum server_name_kind k);

#endif
