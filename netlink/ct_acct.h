/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nf_conntrack_acct of a namespace: does conntrack account for the connections that begin now? It
 * is fixed for each when it begins.
 */
#ifndef NANOSEG_NETLINK_CT_ACCT_H
#define NANOSEG_NETLINK_CT_ACCT_H

#include <stdbool.h>

/* 0, 1 or a negative errno. */
int ct_acct_get(int nsfd);
int ct_acct_set(int nsfd, bool on);

#endif
