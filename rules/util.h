/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small helpers every folder uses: cleanup attributes, ownership transfer, array sizes. */
#ifndef NANOSEG_RULES_UTIL_H
#define NANOSEG_RULES_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define NSEC_PER_SEC 1000000000ULL
#define NSEC_PER_MSEC 1000000ULL

/* Takes the value out of a pointer variable and leaves NULL behind. */
#define steal_ptr(p)                                    \
	({                                              \
		__typeof__(p) *steal_ptr_ = &(p);       \
		__typeof__(p) steal_val_ = *steal_ptr_; \
		*steal_ptr_ = NULL;                     \
		steal_val_;                             \
	})

static inline int
steal_fd(int *fd)
{
	int value = *fd;

	*fd = -1;
	return value;
}

static inline void
free_ptr(void *p)
{
	free(*(void **)p);
}

static inline void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

#define _cleanup_free_ _cleanup_(free_ptr)
#define _cleanup_close_ _cleanup_(close_fd)

/* Where and why an input was refused. Lines and columns count from 1; 0 means "not known". */
struct diag {
	unsigned line, col;
	char msg[256];
};

void diag_set(struct diag *d, unsigned line, unsigned col, const char *fmt, ...) _printf_(4, 5);

/* splitmix64 finaliser: a well-mixed 64-bit hash of a 64-bit value. */
static inline uint64_t
hash_mix64(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

#endif
