/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations: there and back as JSON, and refused in a sentence that names the key. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/config.h"
#include "guest/nics.h"

static int from(const char *json, struct guest_config *c, struct err *err)
{
	return guest_config_from_json(json, strlen(json), c, err);
}

/* Parsed and checked. */
static void refused(const char *json, const char *why)
{
	_cleanup_(guest_config_fini) struct guest_config c = { 0 };
	struct err err = { 0 };
	int r = from(json, &c, &err);

	r = r ?: guest_config_check(&c, &err);
	assert_int_equal(r, -EINVAL);
	if (!strstr(err.msg, why))
		fail_msg("%s: '%s' does not say '%s'", json, err.msg, why);
}

static void accepted(const char *json, struct guest_config *c)
{
	struct err err = { 0 };

	*c = (struct guest_config){ 0 };
	if (from(json, c, &err) || guest_config_check(c, &err))
		fail_msg("%s: %s", json, err.msg);
}

static void test_defaults_are_filled_in(void **state)
{
	_cleanup_(guest_config_fini) struct guest_config c, other;

	(void)state;
	accepted("{\"name\": \"a\", \"kernel\": \"/k\"}", &c);
	assert_int_equal(c.memory_mib, 512);
	assert_int_equal(c.vcpus, 1);
	assert_int_equal(c.maxvcpus, 1);
	assert_int_equal(c.domid, 1);
	assert_int_equal(strlen(c.uuid), 36);
	assert_int_equal(c.transport, GUEST_TRANSPORT_AUTO);
	accepted("{\"name\": \"a\", \"kernel\": \"/k\"}", &other);
	assert_string_not_equal(c.uuid, other.uuid);
}

static void test_json_goes_there_and_back(void **state)
{
	static const char text[] = "{\"name\":\"web-1\",\"uuid\":\"6f0d8a3a-0000-4000-8000-"
				   "0123456789ab\",\"kernel\":\"/k\","
				   "\"initrd\":\"/i\",\"cmdline\":\"a=\\\"b\\\" "
				   "\xc3\xa4\",\"memory_mib\":64,\"vcpus\":2,"
				   "\"maxvcpus\":32,\"domid\":32751,\"on_poweroff\":\"destroy\","
				   "\"on_reboot\":\"restart\","
				   "\"on_crash\":\"preserve\",\"on_watchdog\":\"restart\",\"transport\":\"thunks\"}";
	_cleanup_(guest_config_fini) struct guest_config c, copy = { 0 };
	_cleanup_free_ char *one = NULL, *two = NULL;

	(void)state;
	accepted(text, &c);
	one = guest_config_to_json(&c);
	assert_string_equal(one, text);
	assert_int_equal(guest_config_copy(&c, &copy, NULL), 0);
	two = guest_config_to_json(&copy);
	assert_string_equal(two, text);
}

#define NIC(keys) "{\"name\":\"a\",\"kernel\":\"/k\",\"nics\":[{" keys "}]}"

static void test_networks_go_there_and_back(void **state)
{
	static const char text[] =
		"\"nics\":[{\"type\":\"user\",\"mac\":\"00:16:3E:00:00:01\",\"forwards\":[\"1:2\",\"udp:3:4\"]},"
		"{\"type\":\"tap\",\"tap\":\"t\"},{\"type\":\"tap\",\"bridge\":\"b\"},"
		"{\"type\":\"link\",\"path\":\"/p\"}]}";
	_cleanup_(guest_config_fini) struct guest_config c, copy = { 0 };
	char mac[GUEST_MAC_TEXT];
	_cleanup_free_ char *whole = NULL, *json = NULL;

	(void)state;
	assert_true(asprintf(&whole, "{\"name\":\"a\",\"kernel\":\"/k\",%s", text) > 0);
	accepted(whole, &c);
	assert_int_equal(guest_config_copy(&c, &copy, NULL), 0);
	assert_int_equal(guest_nic_address(&copy, 0, mac), 0);
	assert_string_equal(mac, "00:16:3e:00:00:01");
	assert_int_equal(guest_nic_address(&copy, 1, mac), 0);
	assert_memory_equal(mac, "00:16:3e:", 9);
	json = guest_config_to_json(&copy);
	if (!strstr(json, text))
		fail_msg("%s", json);
}

static void test_networks_that_cannot_be_are_refused(void **state)
{
	(void)state;
	refused("{\"name\":\"a\",\"kernel\":\"/k\",\"nics\":1}", "nics: a list");
	refused(NIC(""), "each with a type");
	refused(NIC("\"type\":\"wifi\""), "user, tap or link");
	refused(NIC("\"type\":\"user\",\"colour\":1"), "unknown key");
	refused(NIC("\"type\":\"user\",\"tap\":\"t\""), "tap and bridge are of type tap");
	refused(NIC("\"type\":\"user\",\"path\":\"t\""), "path is of type link");
	refused(NIC("\"type\":\"tap\""), "one of tap and bridge");
	refused(NIC("\"type\":\"tap\",\"tap\":\"t\",\"bridge\":\"b\""), "one of tap and bridge");
	refused(NIC("\"type\":\"link\""), "path is missing");
	refused(NIC("\"type\":\"tap\",\"tap\":\"t\",\"forwards\":[\"1:2\"]"), "type user only");
	refused(NIC("\"type\":\"user\",\"forwards\":[\"1\"]"), "HOSTPORT");
	refused(NIC("\"type\":\"user\",\"forwards\":[1]"), "a list of strings");
	refused(NIC("\"type\":\"user\",\"mac\":\"00:16:3e:00:00\""), "six bytes");
	refused(NIC("\"type\":\"user\",\"mac\":\"01:16:3e:00:00:00\""), "six bytes");
	refused(NIC("\"type\":\"user\",\"mac\":\"00:00:00:00:00:00\""), "six bytes");
	refused(NIC("\"type\":\"user\",\"mac\":\"00-16-3e-00-00-00\""), "six bytes");
}

#define SHARES(rest) "{\"name\":\"a\",\"kernel\":\"/k\"," rest "}"

static void test_shares_go_there_and_back_with_a_network_to_go_through(void **state)
{
	static const char shares[] = "\"shares\":[{\"tag\":\"a\",\"path\":\"/x\",\"readonly\":false},"
				     "{\"tag\":\"b-2\",\"path\":\"/y\",\"readonly\":true}]";
	static const char *const nics[][2] = {
		{ "", "\"nics\":[{\"type\":\"user\",\"restricted\":true}]" },
		{ "\"nics\":[{\"type\":\"tap\",\"tap\":\"t\"}],",
		  "\"nics\":[{\"type\":\"tap\",\"tap\":\"t\"},{\"type\":\"user\",\"restricted\":true}]" },
		{ "\"nics\":[{\"type\":\"user\"}],", "\"nics\":[{\"type\":\"user\"}]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nics); i++) {
		_cleanup_(guest_config_fini) struct guest_config c, copy = { 0 };
		_cleanup_free_ char *text = NULL, *json = NULL;

		assert_true(asprintf(&text, "{\"name\":\"a\",\"kernel\":\"/k\",%s%s}", nics[i][0], shares) > 0);
		accepted(text, &c);
		assert_int_equal(guest_config_check(&c, NULL), 0); /* and once is enough */
		assert_int_equal(guest_config_copy(&c, &copy, NULL), 0);
		json = guest_config_to_json(&copy);
		if (!strstr(json, shares) || !strstr(json, nics[i][1]))
			fail_msg("%s", json);
	}
}

static void test_shares_that_cannot_be_are_refused(void **state)
{
	(void)state;
	refused(SHARES("\"shares\":1"), "shares: a list");
	refused(SHARES("\"shares\":[{\"tag\":\"a\"}]"), "a tag and a path");
	refused(SHARES("\"shares\":[{\"path\":\"/a\"}]"), "a tag and a path");
	refused(SHARES("\"shares\":[{\"tag\":\"a\",\"path\":\"a\"}]"), "begin with /");
	refused(SHARES("\"shares\":[{\"tag\":\"../a\",\"path\":\"/a\"}]"), "letters, digits");
	refused(SHARES("\"shares\":[{\"tag\":\"a12345678901234567890123456789012\",\"path\":\"/a\"}]"), "up to 31");
	refused(SHARES("\"shares\":[{\"tag\":\"a\",\"path\":\"/a\",\"colour\":1}]"), "unknown key");
	refused(SHARES("\"shares\":[{\"tag\":\"a\",\"path\":\"/a\",\"readonly\":1}]"), "true or false");
	refused(SHARES("\"shares\":[{\"tag\":\"a\",\"path\":\"/a\"},{\"tag\":\"a\",\"path\":\"/b\"}]"),
		"two with tag a");
	refused(NIC("\"type\":\"tap\",\"tap\":\"t\",\"restricted\":true"), "type user only");
}

static void test_addresses_are_as_stable_as_the_uuid(void **state)
{
	static const char one[] = "6f0d8a3a-0000-4000-8000-0123456789ab",
			  two[] = "6f0d8a3a-0000-4000-8000-0123456789ac";
	uint8_t a[6], b[6];

	(void)state;
	assert_int_equal(guest_make_mac(one, 0, a), 0);
	guest_make_mac(one, 0, b);
	assert_memory_equal(a, ((uint8_t[]){ 0, 0x16, 0x3e }), 3);
	assert_memory_equal(a, b, 6);
	guest_make_mac(one, 1, b);
	assert_memory_not_equal(a, b, 6);
	guest_make_mac(two, 0, b);
	assert_memory_not_equal(a, b, 6);
}

static void test_names_that_are_no_names_are_refused(void **state)
{
	char json[256], name[GUEST_NAME_MAX + 2];
	struct guest_config c;

	(void)state;
	refused("{\"kernel\": \"/k\"}", "name");
	refused("{\"name\": \"\", \"kernel\": \"/k\"}", "name");
	refused("{\"name\": \"..\", \"kernel\": \"/k\"}", "name");
	refused("{\"name\": \"-x\", \"kernel\": \"/k\"}", "name");
	refused("{\"name\": \"a/b\", \"kernel\": \"/k\"}", "name");
	refused("{\"name\": \"a b\", \"kernel\": \"/k\"}", "name");
	refused("{\"name\": \"\xc3\xa4\", \"kernel\": \"/k\"}", "name");
	refused("{\"name\": \"a\\u0000b\", \"kernel\": \"/k\"}", "u0000");
	memset(name, 'a', sizeof(name));
	name[GUEST_NAME_MAX + 1] = 0;
	snprintf(json, sizeof(json), "{\"name\": \"%s\", \"kernel\": \"/k\"}", name);
	refused(json, "63");
	name[GUEST_NAME_MAX] = 0;
	snprintf(json, sizeof(json), "{\"name\": \"%s\", \"kernel\": \"/k\"}", name);
	accepted(json, &c);
	guest_config_fini(&c);
}

#define REFUSED(rest, why) refused("{\"name\": \"a\", \"kernel\": \"/k\", " rest "}", why)

static void test_what_cannot_be_is_refused_by_key(void **state)
{
	(void)state;
	refused("{\"name\": \"a\"}", "kernel");
	refused("{\"name\": \"a\", \"kernel\": \"\"}", "kernel");
	REFUSED("\"memory_mib\": 63", "memory 63 MiB");
	REFUSED("\"memory_mib\": 16385", "memory 16385 MiB");
	REFUSED("\"memory_mib\": -1", "memory_mib: a number");
	REFUSED("\"memory_mib\": 4294967296", "memory_mib: a number");
	REFUSED("\"memory_mib\": \"64\"", "memory_mib: a number");
	REFUSED("\"memory_mib\": 64.0", "memory_mib: a number");
	REFUSED("\"vcpus\": 0", "vcpus 0");
	REFUSED("\"vcpus\": 33", "vcpus 33");
	REFUSED("\"vcpus\": 4, \"maxvcpus\": 3", "vcpus 4 is more than maxvcpus 3");
	REFUSED("\"maxvcpus\": 33", "33");
	REFUSED("\"domid\": 32752", "domid 32752");
	REFUSED("\"domid\": 65536", "domid 65536");
	REFUSED("\"uuid\": \"x\"", "uuid \"x\"");
	REFUSED("\"uuid\": null", "uuid: a string");
	REFUSED("\"on_crash\": \"explode\"", "on_crash");
	REFUSED("\"on_watchdog\": \"bark\"", "on_watchdog");
	REFUSED("\"on_poweroff\": 1", "on_poweroff");
	REFUSED("\"on_reboot\": null", "on_reboot");
	REFUSED("\"transport\": \"pigeon\"", "transport");
	REFUSED("\"cmdline\": \"a\\u0000b\"", "u0000");
	REFUSED("\"initrd\": []", "initrd: a string");
	REFUSED("\"memory\": 64", "unknown key \"memory\"");
	REFUSED("\"name\": \"b\"", "duplicate");
}

static void test_a_disk_can_stand_for_the_kernel(void **state)
{
	struct guest_config c;

	(void)state;
	accepted("{\"name\": \"a\", \"disks\": [{\"path\": \"/d\"}], \"cmdline\": \"single\"}", &c);
	assert_null(c.kernel);
	guest_config_fini(&c);
	refused("{\"name\": \"a\", \"disks\": []}", "kernel");
	refused("{\"name\": \"a\", \"disks\": [{\"path\": \"/d\"}], \"kernel\": \"\"}", "kernel");
	refused("{\"name\": \"a\", \"disks\": [{\"path\": \"/d\"}], \"initrd\": \"/i\"}", "initrd /i");
}

static void test_disks_have_formats_and_ways_to_fail(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct guest_config c, copy;

	(void)state;
	accepted("{\"name\": \"a\", \"disks\": [{\"path\": \"/d.qcow2\"}, "
		 "{\"path\": \"/d\", \"format\": \"vhd\", \"on_error\": \"stall\"}, "
		 "{\"path\": \"nbd://h/e\", \"format\": \"raw\"}]}",
		 &c);
	assert_null(c.disks.disk[0].format); /* it was said nowhere: names are for who writes configurations */
	assert_int_equal(c.disks.disk[0].on_error, DISK_ON_ERROR_AUTO);
	assert_string_equal(c.disks.disk[1].format, "vhd");
	assert_int_equal(c.disks.disk[1].on_error, DISK_ON_ERROR_STALL);
	assert_null(c.disks.disk[2].format);
	assert_int_equal(guest_config_copy(&c, &copy, NULL), 0);
	text = guest_config_to_json(&copy);
	guest_config_fini(&copy);
	guest_config_fini(&c);
	accepted(text, &c);
	assert_string_equal(c.disks.disk[1].format, "vhd");
	assert_int_equal(c.disks.disk[1].on_error, DISK_ON_ERROR_STALL);
	guest_config_fini(&c);
	refused("{\"name\": \"a\", \"disks\": [{\"path\": \"/d\", \"format\": \"luks\"}]}", "luks");
	refused("{\"name\": \"a\", \"disks\": [{\"path\": \"d\", \"format\": \"qcow2\"}]}", "absolute");
	refused("{\"name\": \"a\", \"disks\": [{\"path\": \"nbd://h\", \"format\": \"qcow2\"}]}", "server's business");
	refused("{\"name\": \"a\", \"disks\": [{\"path\": \"/d\", \"on_error\": \"panic\"}]}", "on_error");
}

static void test_what_is_no_json_object_is_refused(void **state)
{
	(void)state;
	refused("", "not a JSON object");
	refused("[]", "not a JSON object");
	refused("{", "not a JSON object");
	refused("{}}", "not a JSON object");
	refused("\xff", "not a JSON object");
	refused("null", "not a JSON object");
}

static void test_words_have_numbers_and_numbers_words(void **state)
{
	enum guest_action a;
	enum guest_transport t;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(guest_action_parse(guest_action_name((enum guest_action)i), &a), 0);
		assert_int_equal(a, i);
		assert_int_equal(guest_transport_parse(guest_transport_name((enum guest_transport)i), &t), 0);
		assert_int_equal(t, i);
	}
	assert_int_equal(guest_action_parse("", &a), -EINVAL);
	assert_int_equal(guest_transport_parse("Auto", &t), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults_are_filled_in),
		cmocka_unit_test(test_json_goes_there_and_back),
		cmocka_unit_test(test_networks_go_there_and_back),
		cmocka_unit_test(test_networks_that_cannot_be_are_refused),
		cmocka_unit_test(test_shares_go_there_and_back_with_a_network_to_go_through),
		cmocka_unit_test(test_shares_that_cannot_be_are_refused),
		cmocka_unit_test(test_addresses_are_as_stable_as_the_uuid),
		cmocka_unit_test(test_names_that_are_no_names_are_refused),
		cmocka_unit_test(test_what_cannot_be_is_refused_by_key),
		cmocka_unit_test(test_a_disk_can_stand_for_the_kernel),
		cmocka_unit_test(test_disks_have_formats_and_ways_to_fail),
		cmocka_unit_test(test_what_is_no_json_object_is_refused),
		cmocka_unit_test(test_words_have_numbers_and_numbers_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
