/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netlink/link.h"
#include "rules/util.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define NONE (-1)
#define NUMBERED 0

/* As the kernel tells of a link in a container's namespace. */
struct link_case {
	const char *what, *kind; /* NULL: a device of the machine */
	uint16_t type;
	uint32_t lower;	    /* IFLA_LINK, 0: none */
	int32_t lower_nsid; /* IFLA_LINK_NETNSID */
	bool leaves, veth;
};

static const struct link_case cases[] = {
	{ "loopback", NULL, ARPHRD_LOOPBACK, 0, NONE, false, false },
	{ "veth to the host", "veth", ARPHRD_ETHER, 7, NUMBERED, true, true },
	{ "veth within", "veth", ARPHRD_ETHER, 7, NONE, false, true },
	{ "macvlan on the host's", "macvlan", ARPHRD_ETHER, 7, NUMBERED, true, false },
	{ "macvtap on the host's", "macvtap", ARPHRD_ETHER, 7, NUMBERED, true, false },
	{ "ipvlan on the host's", "ipvlan", ARPHRD_ETHER, 7, NUMBERED, true, false },
	{ "ipvlan within", "ipvlan", ARPHRD_ETHER, 7, NONE, false, false },
	{ "vlan on the host's", "vlan", ARPHRD_ETHER, 7, NUMBERED, true, false },
	{ "tunnel that sends from the host", "vxlan", ARPHRD_ETHER, 0, NUMBERED, true, false },
	{ "bridge", "bridge", ARPHRD_ETHER, 0, NONE, false, false },
	{ "dummy", "dummy", ARPHRD_ETHER, 0, NONE, false, false },
	{ "TUN or TAP", "tun", ARPHRD_NONE, 0, NONE, true, false },
	{ "WireGuard", "wireguard", ARPHRD_NONE, 0, NONE, true, false },
	{ "network card", NULL, ARPHRD_ETHER, 0, NONE, true, false },
};

static const struct nlmsghdr *
make(const struct link_case *c, void *buf)
{
	static const uint8_t mac[LINK_MAC_LEN] = { 2, 4, 6, 8, 10, 12 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;
	struct nlattr *info;

	nlh->nlmsg_type = RTM_NEWLINK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = 3;
	ifi->ifi_type = c->type;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, "eth0");
	mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(mac), mac);
	if (c->lower != 0)
		mnl_attr_put_u32(nlh, IFLA_LINK, c->lower);
	if (c->lower_nsid != NONE)
		mnl_attr_put_u32(nlh, IFLA_LINK_NETNSID, (uint32_t)c->lower_nsid);
	if (c->kind != NULL) {
		info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
		mnl_attr_put_strz(nlh, IFLA_INFO_KIND, c->kind);
		mnl_attr_nest_end(nlh, info);
	}
	return nlh;
}

static void
tells_which_links_lead_out(void **state)
{
	uint8_t buf[512] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct link_info l;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct link_case *c = &cases[i];

		if (link_parse(make(c, buf), &l) < 0 || l.leaves != c->leaves || l.veth != c->veth)
			fail_msg("%s", c->what);
		assert_int_equal(l.ifindex, 3);
		assert_int_equal(l.peer, c->lower);
		assert_int_equal(l.nsid, c->lower_nsid);
		assert_string_equal(l.name, "eth0");
		assert_true(l.has_mac && l.mac[5] == 12);
	}
}

static void
a_message_cut_short_is_refused(void **state)
{
	uint8_t buf[512] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct link_info l = { .ifindex = 42 };

	nlh->nlmsg_len += 4;
	assert_int_equal(link_parse(nlh, &l), -EBADMSG);
	assert_int_equal(l.ifindex, 42);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_which_links_lead_out),
		cmocka_unit_test(a_message_cut_short_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
