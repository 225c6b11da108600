/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "base/macros.h"
#include "reactor/net.h"

static const struct {
	const char *host, *port;
	const char *text; /* what addr_host() makes of it; NULL: refused */
	uint16_t number;
} addr_rows[] = {
	{"127.0.0.1", "3260", "127.0.0.1", 3260},
	{"*", "1", "0.0.0.0", 1},
	{"[*]", "65535", "[::]", 65535},
	{"::", "3260", "[::]", 3260},
	{"[::1]", "3260", "[::1]", 3260},
	{"2001:DB8::0:1", "3260", "[2001:db8::1]", 3260},
	{"[fe80::1%lo]", "3260", "[fe80::1]", 3260},
	{"fe80::1%7", "3260", "[fe80::1]", 3260},
	{"127.0.0.1", "0", NULL, 0},
	{"127.0.0.1", "65536", NULL, 0},
	{"127.0.0.1", "", NULL, 0},
	{"127.0.0.1", "0x50", NULL, 0},
	{"127.0.0.1", "-1", NULL, 0},
	{"127.0.0.1", " 80", NULL, 0},
	{"127.0.0.1", "iscsi", NULL, 0},
	{"127.1", "3260", NULL, 0},
	{"127.0.0.256", "3260", NULL, 0},
	{"127.0.0.1 ", "3260", NULL, 0},
	{"[127.0.0.1]", "3260", NULL, 0},
	{"localhost", "3260", NULL, 0},
	{"", "3260", NULL, 0},
	{"[]", "3260", NULL, 0},
	{"[", "3260", NULL, 0},
	{"[::1", "3260", NULL, 0},
	{"::1]", "3260", NULL, 0},
	{"[[::1]]", "3260", NULL, 0},
	{":::", "3260", NULL, 0},
	{"fe80::1%", "3260", NULL, 0},
	{"fe80::1%no-such-if", "3260", NULL, 0},
	{"fe80::1%0", "3260", NULL, 0},
	{"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
	 "3260", NULL, 0},
	{"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]",
	 "3260", NULL, 0},
};

static void test_parse(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(addr_rows); i++) {
		struct sockaddr_storage a;
		char text[ADDR_TEXT_MAX];
		socklen_t len = 7;
		int rc;

		memset(&a, 0x5a, sizeof(a));
		rc = addr_parse(addr_rows[i].host, addr_rows[i].port, &a, &len);
		if (!addr_rows[i].text) {
			assert_int_equal(rc, -EINVAL);
			assert_int_equal(len, 7);
			continue;
		}
		assert_int_equal(rc, 0);
		assert_int_equal(len, a.ss_family == AF_INET
					      ? sizeof(struct sockaddr_in)
					      : sizeof(struct sockaddr_in6));
		addr_host(&a, true, text, sizeof(text));
		assert_string_equal(text, addr_rows[i].text);
		assert_int_equal(addr_port(&a), addr_rows[i].number);
	}
}

static struct sockaddr_storage addr(const char *host, const char *port)
{
	struct sockaddr_storage a;
	socklen_t len;

	assert_int_equal(addr_parse(host, port, &a, &len), 0);
	return a;
}

static void test_scope(void **state)
{
	struct sockaddr_storage a = addr("[fe80::1%lo]", "1");
	struct sockaddr_storage b = addr("fe80::1%4711", "1");

	assert_int_equal(((struct sockaddr_in6 *)&a)->sin6_scope_id,
			 if_nametoindex("lo"));
	assert_int_equal(((struct sockaddr_in6 *)&b)->sin6_scope_id, 4711);
	assert_false(addr_equal(&a, &b));
}

static void test_host(void **state)
{
	struct sockaddr_storage a = addr("::1", "1"), un = {0};
	char text[ADDR_TEXT_MAX];

	addr_host(&a, false, text, sizeof(text));
	assert_string_equal(text, "::1");
	a = addr("1.2.3.4", "1");
	addr_host(&a, false, text, sizeof(text));
	assert_string_equal(text, "1.2.3.4");
	addr_host(&a, true, text, 4);
	assert_string_equal(text, "1.2");
	un.ss_family = AF_UNIX;
	addr_host(&un, true, text, sizeof(text));
	assert_string_equal(text, "unix");
	assert_int_equal(addr_port(&un), 0);
	assert_false(addr_is_wildcard(&un));
	assert_false(addr_equal(&un, &un));
}

static void test_wildcard_and_equal(void **state)
{
	static const char *const hosts[] = {"*", "[*]", "1.2.3.4", "::1"};

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		struct sockaddr_storage a = addr(hosts[i], "3260");

		assert_int_equal(addr_is_wildcard(&a), i < 2);
		for (size_t j = 0; j < ARRAY_LEN(hosts); j++) {
			struct sockaddr_storage b = addr(hosts[j], "3260");
			struct sockaddr_storage c = addr(hosts[j], "3261");

			assert_int_equal(addr_equal(&a, &b), i == j);
			assert_false(addr_equal(&a, &c));
		}
	}
}

static const struct {
	const char *mask, *host;
	bool match;
} match_rows[] = {
	{"ANY", "1.2.3.4", true},
	{"any", "::1", true},
	{"1.2.3.4", "1.2.3.4", true},
	{"1.2.3.4", "1.2.3.5", false},
	{"1.2.3.4/32", "1.2.3.4", true},
	{"1.2.3.4/32", "1.2.3.5", false},
	{"1.2.3.4/31", "1.2.3.5", true},
	{"1.2.3.4/31", "1.2.3.6", false},
	{"10.1.0.0/16", "10.1.255.255", true},
	{"10.1.0.0/16", "10.2.0.0", false},
	{"10.0.0.0/9", "10.127.0.1", true},
	{"10.0.0.0/9", "10.128.0.1", false},
	{"128.0.0.0/1", "255.0.0.1", true},
	{"128.0.0.0/1", "127.0.0.1", false},
	{"127.0.0.1/32", "::1", false},
	{"[::1]", "::1", true},
	{"[::1]", "::2", false},
	{"[2001:db8::]/32", "2001:db8:ffff::1", true},
	{"[2001:db8::]/32", "2001:db9::1", false},
	{"[2001:db8::]/127", "2001:db8::1", true},
	{"[2001:db8::]/127", "2001:db8::2", false},
	{"[2001:db8::]/128", "2001:db8::1", false},
	{"[::]/1", "7fff::", true},
	{"[::]/1", "8000::", false},
	{"[::]/1", "1.2.3.4", false},
	/* An IPv4 peer behind an IPv6 socket is the IPv4 peer. */
	{"1.2.3.0/24", "::ffff:1.2.3.4", true},
	{"1.2.3.0/24", "::ffff:1.2.4.4", false},
	{"[::]/1", "::ffff:1.2.3.4", false},
	{"[::ffff:1.2.3.4]", "1.2.3.4", true},
	{"[::ffff:1.2.3.0]/120", "1.2.3.77", true},
	{"[::ffff:1.2.3.0]/120", "1.2.4.77", false},
	{"[::ffff:0.0.0.0]/96", "9.9.9.9", true},
	/* What is malformed matches nobody. */
	{"1.2.3.4/0", "1.2.3.4", false},
	{"nonsense", "1.2.3.4", false},
};

static void test_match(void **state)
{
	struct sockaddr_storage un = {.ss_family = AF_UNIX};

	for (size_t i = 0; i < ARRAY_LEN(match_rows); i++) {
		struct sockaddr_storage a = addr(match_rows[i].host, "5");

		assert_int_equal(netmask_match(match_rows[i].mask, &a),
				 match_rows[i].match);
	}
	assert_true(netmask_match("ANY", &un));
	assert_false(netmask_match("1.2.3.4/1", &un));
}

static const struct {
	const char *mask;
	int rc;
} check_rows[] = {
	{"ANY", 0},
	{"10.0.0.0/1", 0},
	{"10.0.0.0/32", 0},
	{"10.0.0.0", 0},
	{"[::1]", 0},
	{"[::]/1", 0},
	{"[::]/128", 0},
	{"10.0.0.0/0", -EINVAL},
	{"10.0.0.0/33", -EINVAL},
	{"[::]/0", -EINVAL},
	{"[::]/129", -EINVAL},
	{"10.0.0.0/", -EINVAL},
	{"10.0.0.0/0x8", -EINVAL},
	{"10.0.0.0/-8", -EINVAL},
	{"10.0.0.0/8/8", -EINVAL},
	{"10.0.0.0/8 ", -EINVAL},
	{"10.0.0.0/255.0.0.0", -EINVAL},
	{"10.0.0/8", -EINVAL},
	{"::1", -EINVAL},
	{"::1/64", -EINVAL},
	{"[10.0.0.0]/8", -EINVAL},
	{"[fe80::1%lo]", -EINVAL},
	{"[::1", -EINVAL},
	{"", -EINVAL},
	{"/8", -EINVAL},
	{"ALL", -EINVAL}, /* the configuration turns it into ANY */
	{"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0]",
	 -EINVAL},
};

static void test_check(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(check_rows); i++)
		assert_int_equal(netmask_check(check_rows[i].mask),
				 check_rows[i].rc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_scope),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_match),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_wildcard_and_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
