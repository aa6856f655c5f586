/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The setting `images`: which images may run at all, under whatever name. */
#ifndef NANOSEG_DAEMON_CONF_IMAGES_H
#define NANOSEG_DAEMON_CONF_IMAGES_H

#include "rules/read.h"

#define IMAGES_MAX_ALLOW 1000

enum images_action {
	IMAGES_FLAG,
	IMAGES_QUARANTINE,
};

struct images_config {
	char **allow;	/* "sha256:" and 64 digits, or a pattern of repositories */
	size_t n_allow; /* 0: every image may run */
	enum images_action action;
};

/*
 * By the id, which the engine has computed, or by the repository, which whoever made or pulled the
 * image has chosen. Either may be "": then nothing is matched by it.
 */
bool images_config_allows(
    const struct images_config *c, const char *image_id, const char *repository);
void images_config_done(struct images_config *c);
int images_config_read(const struct reader *r, const struct slot *s, struct images_config *ret);

#endif
