/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arguments of the command line, read by tables. Pure: no output, no environment. Where something
 * is refused, the reason is a sentence in the diag (its line and column stay 0).
 */
#ifndef NANOSEG_CLI_ARGS_H
#define NANOSEG_CLI_ARGS_H

#include "rules/peer.h"
#include "rules/util.h"

#include <stdbool.h>

/* Exactly one of flag and value is set. A value given twice: the last one counts. */
struct arg_option {
	const char *name; /* long, without the dashes */
	char letter;	  /* or 0 */
	bool *flag;
	const char **value;
};

/*
 * Reads the options of both tables (b may be NULL) and moves the other arguments to the front of
 * argv. "--" ends the options, "-" is an argument. The number of other arguments, or -EINVAL. With
 * until_first, reading ends at the first argument: *ret_next is its index, argv is not reordered.
 */
int args_read(const struct arg_option *a, size_t n_a, const struct arg_option *b, size_t n_b,
    int argc, char **argv, struct diag *d);
int args_read_global(
    const struct arg_option *a, size_t n_a, int argc, char **argv, struct diag *d, int *ret_next);

/* DST:PORT[/PROTO]; the peer may be in brackets, and for ICMP the port is the type. */
struct target {
	char peer[PEER_STRLEN];
	unsigned port;
	const char *proto; /* static */
};
int target_parse(const char *text, struct target *ret, struct diag *d);

/* The name of a workload as peer_parse() has it: "workload:host" for one called host. Borrowed. */
int workload_arg(const char *text, const char **ret, struct diag *d);
/* A peer is spelled well enough to be asked about. */
int peer_arg(const char *text, struct diag *d);

/* "7d", or a moment after now: in whole seconds, at least 1, at most ten years. */
int expiry_arg(const char *text, uint64_t now_ns, uint64_t *ret_seconds, struct diag *d);
/* A time, or how long before now: "7d". */
int moment_arg(
    const char *what, const char *text, uint64_t now_ns, uint64_t *ret_ns, struct diag *d);
/* A whole number of at most max. */
int number_arg(const char *what, const char *text, uint64_t max, uint64_t *ret, struct diag *d);
/* A text that is not empty, UTF-8 and at most max bytes. */
int text_arg(const char *what, const char *text, size_t max, struct diag *d);

#endif
