/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void
diag_keeps_place_and_cuts_long_text(void **state)
{
	struct diag d;
	char longer[1000];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	diag_set(&d, 3, 7, "expected %s", longer);
	assert_int_equal(d.line, 3);
	assert_int_equal(d.col, 7);
	assert_int_equal(strlen(d.msg), sizeof(d.msg) - 1);
	diag_set(NULL, 1, 1, "no place to write to");
}

static void
steal_leaves_nothing_behind(void **state)
{
	int x = 1, fd = 5;
	int *p = &x;

	assert_ptr_equal(steal_ptr(p), &x);
	assert_null(p);
	assert_int_equal(steal_fd(&fd), 5);
	assert_int_equal(fd, -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(diag_keeps_place_and_cuts_long_text),
		cmocka_unit_test(steal_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
