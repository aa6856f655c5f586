/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/csv.h"

#include "cli/show.h"

#include <inttypes.h>
#include <string.h>

/* A spreadsheet takes such a cell for a formula; so do some with the wide forms. */
static bool
starts_formula(const char *text)
{
	static const char *const wide[] = { "\uff1d", "\uff0b", "\uff0d", "\uff20" };

	if (*text != '\0' && strchr("=+-@\t\r\n", *text) != NULL)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(wide); i++)
		if (strncmp(text, wide[i], strlen(wide[i])) == 0)
			return true;
	return false;
}

void
csv_cell(FILE *f, const char *text, bool last)
{
	_cleanup_free_ char *safe = text_safe(text != NULL ? text : "");

	fputc('"', f);
	if (safe != NULL && starts_formula(safe + strspn(safe, " ")))
		fputc('\'', f);
	for (const char *p = safe != NULL ? safe : ""; *p != '\0'; p++) {
		if (*p == '"')
			fputc('"', f);
		fputc(*p, f);
	}
	fputs(last ? "\"\r\n" : "\",", f);
}

void
csv_number(FILE *f, const json_t *o, const char *key)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, show_int(o, key, 0));
	csv_cell(f, json_is_integer(json_object_get(o, key)) ? text : "", false);
}
