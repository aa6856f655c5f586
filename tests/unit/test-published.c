/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is behind a port of the host is said where it is certain, and never anybody else. */
#include "ctl-fixture.h"
#include "daemon/image.h"
#include "daemon/published.h"

#define ID "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee0%u"

/* Container n, which publishes one range: "proto address lo hi to". */
static void
publish(struct controller *c, unsigned n, const char *name, const char *image, const char *range)
{
	struct w_netns ns = { .cookie = n, .ino = n, .flags = NETNS_F_ENGINE };
	char id[80], proto[8], address[64], *text;
	int lo, hi, to;
	json_t *o;

	snprintf(id, sizeof(id), ID, n);
	memcpy(ns.container_id, id, sizeof(ns.container_id));
	instance_on_netns(c, &ns);
	assert_int_equal(sscanf(range, "%7s %63s %d %d %d", proto, address, &lo, &hi, &to), 5);
	o = json_pack("{s:s, s:s, s:s, s:s, s:{}, s:{}, s:[{s:s, s:s, s:i, s:i, s:i}]}", "id", id,
	    "runtime", "docker", "name", name, "image", image, "labels", "imageLabels", "ports",
	    "proto", proto, "address", strcmp(address, "any") == 0 ? "" : address, "port", lo,
	    "last", hi, "to", to);
	assert_non_null(o);
	text = json_dumps(o, 0);
	instance_on_container(c, text, strlen(text));
	free(text);
	json_decref(o);
}

static const char *
behind(struct controller *c, const char *address, uint8_t proto, uint16_t port)
{
	const struct addr a = ctl_addr(address);
	peer_id id = published_find(c, &a, proto, port);

	return id != PEER_ID_NONE ? peer_get(c->peers, id)->name : "-";
}

static void
each_port_has_its_own(void **state)
{
	static const struct {
		const char *address;
		uint8_t proto;
		uint16_t port;
		const char *want;
	} cases[] = {
		{ "10.0.0.254", IPPROTO_TCP, 8080, "web" },
		{ "10.0.0.254", IPPROTO_UDP, 8080, "dns" },
		{ "10.0.0.254", IPPROTO_SCTP, 8080, "-" },
		{ "10.0.0.254", IPPROTO_TCP, 8079, "-" },
		{ "10.0.0.254", IPPROTO_TCP, 8083, "web" },
		{ "10.0.0.254", IPPROTO_TCP, 8084, "-" },
		/* One address leads elsewhere than all the others. */
		{ "10.0.0.1", IPPROTO_TCP, 8080, "db" },
		{ "10.0.0.1", IPPROTO_TCP, 8081, "web" },
		{ "fd00::1", IPPROTO_TCP, 8080, "web" },
	};
	struct controller *c = ((struct ctl_fixture *)*state)->c;

	publish(c, 1, "web", "nginx", "tcp any 8080 8083 80");
	publish(c, 2, "dns", "bind", "udp any 8080 8080 53");
	publish(c, 3, "db", "db", "tcp 10.0.0.1 8080 8080 80");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (strcmp(behind(c, cases[i].address, cases[i].proto, cases[i].port),
			cases[i].want) != 0)
			fail_msg("case %zu: %s", i,
			    behind(c, cases[i].address, cases[i].proto, cases[i].port));
}

/* As an engine says that lies, or that has not said yet that the first is gone. */
static void
of_two_that_claim_a_port_neither_is_named(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct d_id gone = { 0 };

	publish(c, 1, "web", "nginx", "tcp 10.0.0.1 80 80 80");
	publish(c, 2, "db", "db", "tcp 10.0.0.1 80 80 80");
	publish(c, 3, "other", "x", "tcp any 80 80 80");
	assert_string_equal(behind(c, "10.0.0.1", IPPROTO_TCP, 80), "-");
	publish(c, 4, "web", "nginx", "tcp any 81 81 80");
	publish(c, 5, "web", "nginx", "tcp any 81 81 80");
	assert_string_equal(behind(c, "10.0.0.1", IPPROTO_TCP, 81), "web");
	snprintf(gone.id, sizeof(gone.id), ID, 1u);
	instance_on_container_gone(c, &gone);
	assert_string_equal(behind(c, "10.0.0.1", IPPROTO_TCP, 80), "db");
	assert_string_equal(behind(c, "10.0.0.2", IPPROTO_TCP, 80), "other");
}

static void
who_counts_as_nobody_is_not_named_nor_is_another_in_his_place(void **state)
{
	const struct actor root = { .name = "uid:0" };
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	struct mode_change change = { .mode = MODE_ENFORCE, .direction = WL_BOTH };

	publish(c, 1, "web", "nginx", "tcp any 80 80 80");
	change.workload = workload_find(c, "web");
	assert_int_equal(segment_set_modes(c, &change, 1, 0, "because", &root, &f->d), 0);
	publish(c, 2, "web", "evil", "tcp 10.0.0.1 80 80 80");
	assert_string_equal(behind(c, "10.0.0.1", IPPROTO_TCP, 80), "-");
	assert_string_equal(behind(c, "10.0.0.2", IPPROTO_TCP, 80), "web");
	publish(c, 3, "web", "evil", "tcp any 80 80 80");
	assert_string_equal(behind(c, "10.0.0.2", IPPROTO_TCP, 80), "-");
}

#define PUBLISHED_TEST(name) cmocka_unit_test_setup_teardown(name, ctl_setup, ctl_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PUBLISHED_TEST(each_port_has_its_own),
		PUBLISHED_TEST(of_two_that_claim_a_port_neither_is_named),
		PUBLISHED_TEST(who_counts_as_nobody_is_not_named_nor_is_another_in_his_place),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
