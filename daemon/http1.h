/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The head of an HTTP/1.0 response, bounded. Pure. Only what an engine answers to a request that
 * says HTTP/1.0: a body of Content-Length bytes or until the end of the stream, never chunks.
 */
#ifndef NANOSEG_DAEMON_HTTP1_H
#define NANOSEG_DAEMON_HTTP1_H

#include <stddef.h>
#include <stdint.h>

#define HTTP1_HEAD_MAX 16384

struct http1_head {
	int status;		/* 100..599 */
	int64_t content_length; /* -1: until the end of the stream */
};

/*
 * The length of the head if buf holds all of it (then *ret is filled), 0 if more bytes are needed,
 * -E2BIG if it is longer than HTTP1_HEAD_MAX, -EPROTONOSUPPORT for a transfer encoding, -EBADMSG
 * for anything that is no such head.
 */
int http1_parse_head(const char *buf, size_t len, struct http1_head *ret);

#endif
