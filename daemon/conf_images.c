/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/conf_images.h"

#include "rules/identity.h"

#include <errno.h>
#include <string.h>

#define DIGEST "sha256:"
#define DIGEST_LEN (sizeof(DIGEST) - 1)
#define PATTERN_LEN_MAX 512

/* Some engines leave the word for the algorithm out. */
static const char *
digits_of(const char *digest)
{
	return strncmp(digest, DIGEST, DIGEST_LEN) == 0 ? digest + DIGEST_LEN : digest;
}

bool
images_config_allows(const struct images_config *c, const char *image_id, const char *repository)
{
	for (size_t i = 0; i < c->n_allow; i++) {
		const char *allowed = c->allow[i];

		if (strncmp(allowed, DIGEST, DIGEST_LEN) == 0) {
			if (strcmp(digits_of(allowed), digits_of(image_id)) == 0)
				return true;
		} else if (*repository != '\0' && identity_glob(allowed, repository)) {
			return true;
		}
	}
	return c->n_allow == 0;
}

void
images_config_done(struct images_config *c)
{
	for (size_t i = 0; i < c->n_allow; i++)
		free(c->allow[i]);
	free(c->allow);
	*c = (struct images_config){ 0 };
}

static int
allow_read(const struct reader *r, const struct slot *s, char **ret)
{
	char said[SHOWN_LEN];
	const char *text, *digits;
	int rc = read_text(r, s, "a digest or a pattern of repositories", PATTERN_LEN_MAX, &text);

	if (rc < 0)
		return rc;
	digits = digits_of(text);
	if (digits != text && (strlen(digits) != 64 || strspn(digits, "0123456789abcdef") != 64))
		return read_fail(r, s, "'%s' is not a digest: expected sha256: and 64 digits",
		    shown(text, said));
	/* "nginx:1.25" would match nothing. */
	if (digits == text && strchr(text, '@') != NULL)
		return read_fail(r, s,
		    "'%s': a repository is written without tag and digest, an image's id as "
		    "sha256: and 64 digits",
		    shown(text, said));
	*ret = strdup(text);
	return *ret != NULL ? 0 : -ENOMEM;
}

int
images_config_read(const struct reader *r, const struct slot *s, struct images_config *ret)
{
	static const struct read_key keys[] = { { "allow", false }, { "action", false } };
	static const char *const actions[] = { "flag", "quarantine" };
	struct slot f[ARRAY_SIZE(keys)];
	size_t n = 0, action = IMAGES_FLAG;
	int rc = read_object(r, s, "images", keys, ARRAY_SIZE(keys), f);

	if (rc >= 0 && f[0].value != NULL)
		rc = read_array(
		    r, &f[0], "a list of digests and repositories", IMAGES_MAX_ALLOW, &n);
	if (rc >= 0 && f[1].value != NULL)
		rc = read_choice(r, &f[1], "action", actions, ARRAY_SIZE(actions), &action);
	if (rc < 0)
		return rc;
	images_config_done(ret);
	ret->action = (enum images_action)action;
	ret->allow = calloc(n + 1, sizeof(*ret->allow));
	if (ret->allow == NULL)
		return -ENOMEM;
	while (ret->n_allow < n) {
		struct slot item = slot_item(&f[0], ret->n_allow);

		rc = allow_read(r, &item, &ret->allow[ret->n_allow]);
		if (rc < 0)
			return rc;
		ret->n_allow++;
	}
	return 0;
}
