/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hook's state and a bundle's configuration: nothing is read past the end, and what is edited
 * stays JSON, has the entry once, and is not edited again. */
#include "rules/oci.h"
#include "rules/util.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char entry[] = "{\"path\":\"/h\",\"args\":[\"h\"]}";

static void
must(bool good)
{
	if (!good)
		__builtin_trap();
}

static void
check_state(const char *text, size_t size)
{
	struct oci_state st;
	const char *why;

	if (oci_state_read(text, size, &st, &why) < 0) {
		must(why[0] != '\0');
		return;
	}
	must(oci_check(text, size) == 0 && st.pid > 0 && st.id[0] != '\0');
	must(strlen(st.id) <= OCI_ID_MAX && strpbrk(st.id, " \r\n\"\\/") == NULL);
	must(strlen(st.bundle) <= OCI_PATH_MAX);
}

static void
check_edit(const char *text, size_t size)
{
	_cleanup_free_ char *once = NULL, *twice = NULL;
	struct oci_value hooks, list;
	size_t len, again;

	if (oci_add_hook(text, size, entry, &once, &len) < 0)
		return;
	must(once[len] == '\0' && oci_check(once, len) == 0 && len >= size - MIN(size, 4));
	must(oci_member(once, len, "hooks", &hooks) == 0);
	must(oci_member(hooks.text, hooks.len, "createRuntime", &list) == 0);
	must(memmem(list.text, list.len, entry, strlen(entry)) != NULL);
	must(oci_add_hook(once, len, entry, &twice, &again) == 0);
	must(again == len && memcmp(once, twice, len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct oci_value v;
	char small[8];

	check_state(text, size);
	check_edit(text, size);
	if (oci_member(text, size, "a", &v) == 0) {
		must(v.text > text && v.text + v.len < text + size);
		must(oci_check(v.text, v.len) == 0);
		if (oci_string(&v, small, sizeof(small)) == 0)
			must(strlen(small) < sizeof(small));
	}
	return 0;
}
