/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that the user names. "-" is standard input. */
#ifndef NANOSEG_CLI_FILE_H
#define NANOSEG_CLI_FILE_H

#include "rules/doc.h"

/*
 * Reads at most DOC_MAX_BYTES and a byte, so that the parser says what is too much. CLI_OK, or the
 * exit code after reporting.
 */
int file_read(const char *path, char **ret, size_t *ret_len);
/* The same with another bound. */
int file_read_max(const char *path, size_t max, char **ret, size_t *ret_len);
/*
 * By a temporary file beside it: what is there is whole, or as it was. What is no file, as a pipe
 * or /dev/null, is written to, and so is all below /dev.
 */
int file_write(const char *path, const char *text, size_t len);
/* "FILE:LINE:COL: message", without the program's name: editors read it. */
void file_report(const char *path, const struct diag *d);

#endif
