/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which addresses one workload was told which names have, and until when that holds. Bounded: a
 * name has the addresses it was given last, and names that the policy speaks of push out all
 * others, never the reverse.
 */
#ifndef NANOSEG_RULES_NAMES_H
#define NANOSEG_RULES_NAMES_H

#include "rules/addr.h"

#define NAMES_MAX 4096	      /* addresses of a workload, of all names */
#define NAMES_MAX_OF_NAME 256 /* addresses of one name */
/* Edges of one workload to names; a crawler's others are the internet's. */
#define NAMES_MAX_PEERS 512

struct name_entry {
	struct name_entry *next, *next_of_name; /* of the same bucket */
	struct name_entry *older, *newer;	/* of those that are wanted, or of the others */
	struct addr addr;
	uint64_t until_ns, told_ns; /* by the caller's clock; told: the last time */
	bool wanted;		    /* an edge of the policy speaks of the name */
	char name[];
};

struct name_table;

int name_table_new(uint64_t hash_seed, struct name_table **ret);
void name_table_free(struct name_table *t);
static inline void
name_table_freep(struct name_table **t)
{
	name_table_free(*t);
}

/*
 * The name has that address, until then at least. 1: it is new. 0; -ENOMEM; -ENOSPC: everything
 * there is wanted more.
 */
int name_table_tell(struct name_table *t, const char *name, const struct addr *a, bool wanted,
    uint64_t now_ns, uint64_t until_ns);
/* Does an edge speak of its name? */
void name_table_want(struct name_table *t, struct name_entry *e, bool wanted);
/* The address is in use: nothing about it ends before then. */
void name_table_use(struct name_table *t, const struct addr *a, uint64_t until_ns);
/* The name that was told last of the address; NULL: none. */
const char *name_table_find(const struct name_table *t, const struct addr *a);
/* Has a name that the pattern (exact, or "*." and a domain) covers that address? */
bool name_table_matches(const struct name_table *t, const char *pattern, const struct addr *a);
/* In no order. Start with *pos = 0; NULL ends. Nothing may be added or removed meanwhile. */
struct name_entry *name_table_next(const struct name_table *t, size_t *pos);
/* Removes what ended before then, of those that are wanted or of all others. How many. */
size_t name_table_expire(struct name_table *t, bool wanted, uint64_t now_ns);
size_t name_table_count(const struct name_table *t);

/* Is the name the pattern's, or below it? "*.a.b" covers every name that ends in ".a.b". */
bool name_covers(const char *pattern, const char *name);

#endif
