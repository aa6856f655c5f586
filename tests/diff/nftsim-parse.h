/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between nftsim-parse.c and nftsim-rule.c alone. */
#ifndef NANOSEG_TESTS_NFTSIM_PARSE_H
#define NANOSEG_TESTS_NFTSIM_PARSE_H

#include "tests/diff/nftsim.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

/* Says what was wrong; returns err. */
int sim_fault(struct sim_table *t, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Attributes by type, up to max; one unknown or given twice is an error. */
int sim_attrs(struct sim_table *t, const void *start, size_t len, const char *what, unsigned max,
    const struct nlattr **ret);
int sim_nested(struct sim_table *t, const struct nlattr *nest, const char *what, unsigned max,
    const struct nlattr **ret);
/* An error if there is one but those of `known`. */
int sim_only(struct sim_table *t, const struct nlattr *const *attrs, unsigned max, const char *what,
    const unsigned *known, size_t n);
/* "" if missing or too long; UINT32_MAX if missing or of another size. */
const char *sim_str(const struct nlattr *a);
uint32_t sim_u32(const struct nlattr *a);
/* The bytes in NFTA_DATA_VALUE. */
int sim_value(
    struct sim_table *t, const struct nlattr *data, size_t max, uint8_t *ret, uint32_t *ret_len);
/* An index or -ENOENT. */
int sim_find_chain(const struct sim_table *t, const char *name);
int sim_find_set(const struct sim_table *t, const char *name);
int sim_find_counter(const struct sim_table *t, const char *name);

int sim_new_rule(struct sim_table *t, const struct nlattr *const *attrs, bool append);

#endif
