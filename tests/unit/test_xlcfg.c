/* SPDX-License-Identifier: Apache-2.0 */
/* xl.cfg files: what is taken, what is named as ignored, and what is refused with its line. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "cli/filekind.h"
#include "cli/nicspec.h"
#include "cli/xlcfg.h"

/* The configuration as text with sorted keys. */
static char *parse(const char *text, char **ret_ignored)
{
	json_t *o = NULL;
	struct err err = { 0 };
	char *s;

	if (xlcfg_parse(text, "web.cfg", &o, ret_ignored, &err))
		fail_msg("%s: %s", text, err.msg);
	s = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(o);
	return s;
}

static void becomes(const char *text, const char *want)
{
	_cleanup_free_ char *ignored = NULL, *got = parse(text, &ignored);

	assert_string_equal(got, want);
	assert_null(ignored);
}

static void refused(const char *text, int code, const char *why)
{
	json_t *o = NULL;
	char *ignored = NULL;
	struct err err = { 0 };

	assert_int_equal(xlcfg_parse(text, "web.cfg", &o, &ignored, &err), code);
	if (strncmp(err.msg, "web.cfg:", 8) || !strstr(err.msg, why))
		fail_msg("%s: '%s' does not say '%s'", text, err.msg, why);
	assert_null(o);
	assert_null(ignored);
}

static void test_a_whole_file_is_taken(void **state)
{
	(void)state;
	becomes("# a guest\n"
		"type = \"pvh\"\n"
		"name = 'web'   # its name\n"
		"kernel=\"/nonexistent/k\"\r\n"
		"memory\t= 512\n"
		"vcpus = 0x2\n"
		"maxvcpus=4\n"
		"uuid = \"u\"\n"
		"on_crash = \"preserve\"\n"
		"on_watchdog = \"restart\"",
		"{\"kernel\":\"/nonexistent/k\",\"maxvcpus\":4,\"memory_mib\":512,\"name\":\"web\","
		"\"on_crash\":\"preserve\",\"on_watchdog\":\"restart\",\"uuid\":\"u\",\"vcpus\":2}");
}

static void test_nothing_is_a_configuration_too(void **state)
{
	(void)state;
	becomes("", "{}");
	becomes("\n\n# only a comment", "{}");
	becomes(" \t;;\n", "{}");
}

static void test_comments_and_quotes_do_not_mix(void **state)
{
	(void)state;
	becomes("name = \"a#b\" # comment \" with a quote", "{\"name\":\"a#b\"}");
	becomes("name = 'say \"hi\"'", "{\"name\":\"say \\\"hi\\\"\"}");
	becomes("name = \"it's\"", "{\"name\":\"it's\"}");
}

static void test_a_command_line_is_made_of_root_and_extra(void **state)
{
	(void)state;
	becomes("root = '/dev/xvda1'", "{\"cmdline\":\"root=/dev/xvda1\"}");
	becomes("extra = 'quiet'", "{\"cmdline\":\"quiet\"}");
	becomes("root = '/dev/xvda1'\nextra = 'quiet'", "{\"cmdline\":\"root=/dev/xvda1 quiet\"}");
	becomes("cmdline = 'mine'\nroot = 'x'\nextra = 'y'", "{\"cmdline\":\"mine\"}");
	becomes("extra = ''", "{}");
}

static void test_what_is_not_used_is_named(void **state)
{
	_cleanup_free_ char *ignored = NULL,
			    *got = parse("vfb = [ 'a,b', \"c\", [1, 2,],\n # inside\n]\nname='x'\npci = []", &ignored);

	(void)state;
	assert_string_equal(got, "{\"name\":\"x\"}");
	assert_non_null(ignored);
	assert_true(!strcmp(ignored, "vfb, pci") || !strcmp(ignored, "pci, vfb"));
}

static void test_disks_are_read_as_xl_reads_them(void **state)
{
	static const struct {
		const char *spec, *json;
	} good[] = {
		{ "/x", "[{\"path\":\"/x\"}]" },
		{ "/x,raw,xvdb,ro", "[{\"path\":\"/x\",\"readonly\":true,\"vdev\":\"xvdb\"}]" },
		{ "/x,,xvda,w", "[{\"path\":\"/x\",\"readonly\":false,\"vdev\":\"xvda\"}]" },
		{ "vdev=xvda, access=rw, cache=none, target=/a,b=c",
		  "[{\"cache\":\"none\",\"path\":\"/a,b=c\",\"readonly\":false,\"vdev\":\"xvda\"}]" },
		{ "/with=equals", "[{\"path\":\"/with=equals\"}]" },
		{ "/x,qcow2,xvda,rw", "[{\"format\":\"qcow2\",\"path\":\"/x\",\"readonly\":false,\"vdev\":\"xvda\"}]" },
		{ "/x.QCow2", "[{\"format\":\"qcow2\",\"path\":\"/x.QCow2\"}]" },
		{ "/x.vhd,,xvda", "[{\"format\":\"vhd\",\"path\":\"/x.vhd\",\"vdev\":\"xvda\"}]" },
		{ "format=raw,target=/x.qcow2", "[{\"path\":\"/x.qcow2\"}]" }, /* the name means nothing */
		{ "/x.qcow2,raw", "[{\"path\":\"/x.qcow2\"}]" },
		{ "/qcow2", "[{\"path\":\"/qcow2\"}]" },
		{ "nbd+unix:///a?socket=/s,,xvdb", "[{\"path\":\"nbd+unix:///a?socket=/s\",\"vdev\":\"xvdb\"}]" },
		{ "on-error=stall,target=nbd://host:1/x.qcow2",
		  "[{\"on_error\":\"stall\",\"path\":\"nbd://host:1/x.qcow2\"}]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_free_ char *ignored = NULL, *got = NULL;
		char text[200], want[200];

		snprintf(text, sizeof(text), "disk = [ '%s' ]", good[i].spec);
		snprintf(want, sizeof(want), "{\"disks\":%s}", good[i].json);
		got = parse(text, &ignored);
		assert_string_equal(got, want);
	}
	refused("disk = 'x'", -EINVAL, "a list is wanted");
	refused("disk = [ 1 ]", -EINVAL, "a list of strings");
	refused("disk = [ '' ]", -EINVAL, "which file");
	refused("disk = [ 'vdev=xvda' ]", -EINVAL, "which file");
	refused("disk = [ 'format=,target=/x' ]", -EINVAL, "which format");
	refused("disk = [ '/x,raw,xvda,maybe' ]", -EINVAL, "ro or rw");
	refused("disk = [ '/x,raw,xvda,rw,more' ]", -EINVAL, "too many");
	refused("disk = [ '/x,colour=red' ]", -EINVAL, "unknown key");
}

static void test_networks_are_read_as_xl_reads_them(void **state)
{
	static const struct {
		const char *spec, *json;
	} good[] = {
		{ "mac=00:16:3e:01:02:03, bridge=br0",
		  "[{\"bridge\":\"br0\",\"mac\":\"00:16:3e:01:02:03\",\"type\":\"tap\"}]" },
		{ "type=vif", "[{\"bridge\":\"xenbr0\",\"type\":\"tap\"}]" },
		{ "", "[{\"bridge\":\"xenbr0\",\"type\":\"tap\"}]" },
		{ "tap=tap3", "[{\"tap\":\"tap3\",\"type\":\"tap\"}]" },
		{ "user", "[{\"type\":\"user\"}]" },
		{ "user,restricted", "[{\"restricted\":true,\"type\":\"user\"}]" },
		{ "type=user, forward=2222:22, forward=udp:53:53",
		  "[{\"forwards\":[\"2222:22\",\"udp:53:53\"],\"type\":\"user\"}]" },
		{ "link=/nonexistent/x", "[{\"path\":\"/nonexistent/x\",\"type\":\"link\"}]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_free_ char *ignored = NULL, *got = NULL;
		char text[200], want[200];

		snprintf(text, sizeof(text), "vif = [ '%s' ]", good[i].spec);
		snprintf(want, sizeof(want), "{\"nics\":%s}", good[i].json);
		got = parse(text, &ignored);
		assert_string_equal(got, want);
		assert_null(ignored);
	}
	refused("vif = 'x'", -EINVAL, "a list is wanted");
	refused("vif = [ 1 ]", -EINVAL, "a list of strings");
	refused("vif = [ 'other' ]", -EINVAL, "unknown word");
	refused("vif = [ 'colour=red' ]", -EINVAL, "unknown key");
	refused("vif = [ 'user,tap=x' ]", -EINVAL, "both user and tap");
}

static void test_shares_are_folders_with_a_tag(void **state)
{
	static const struct {
		const char *spec, *json;
	} good[] = {
		{ "/nonexistent:a", "{\"path\":\"/nonexistent\",\"readonly\":false,\"tag\":\"a\"}" },
		{ "/nonexistent/b:c:tag,ro", "{\"path\":\"/nonexistent/b:c\",\"readonly\":true,\"tag\":\"tag\"}" },
		{ "/nonexistent/d,e:t, rw", "{\"path\":\"/nonexistent/d,e\",\"readonly\":false,\"tag\":\"t\"}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_free_ char *ignored = NULL, *got = NULL;
		char text[200], want[200];

		snprintf(text, sizeof(text), "share = [ '%s' ]", good[i].spec);
		snprintf(want, sizeof(want), "{\"shares\":[%s]}", good[i].json);
		got = parse(text, &ignored);
		assert_string_equal(got, want);
	}
	refused("share = [ '/a' ]", -EINVAL, "FOLDER:TAG is wanted");
	refused("share = [ ':a' ]", -EINVAL, "FOLDER:TAG is wanted");
	refused("share = [ '/a:b,rx' ]", -EINVAL, "ro or rw");
}

static void test_published_ports_are_of_the_user_network(void **state)
{
	json_t *nics = json_array(), *ports = json_pack("[s]", "2222:22"), *nic = NULL;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(nicspec_publish(nics, ports, &err), 0);
	assert_int_equal(json_array_size(nics), 1);
	assert_int_equal(nicspec_publish(nics, ports, &err), 0);
	assert_int_equal(json_array_size(nics), 1);
	assert_int_equal(json_array_size(json_object_get(json_array_get(nics, 0), "forwards")), 2);
	json_array_clear(nics);
	assert_int_equal(nicspec_parse("tap=a", &nic, &err), 0);
	json_array_append_new(nics, nic);
	assert_int_equal(nicspec_publish(nics, ports, &err), -EINVAL);
	json_decref(nics);
	json_decref(ports);
}

static void test_paths_become_absolute(void **state)
{
	_cleanup_free_ char *ignored = NULL, *got = NULL;

	(void)state;
	assert_int_equal(chdir("/"), 0);
	got = parse("kernel = 'tmp/..//tmp'", &ignored);
	assert_string_equal(got, "{\"kernel\":\"/tmp\"}");
}

static void test_only_pvh_is_possible(void **state)
{
	(void)state;
	refused("type = 'pv'", -EOPNOTSUPP, "only pvh");
	refused("type = 'hvm'", -EOPNOTSUPP, "\"hvm\"");
}

static void test_syntax_errors_have_a_line(void **state)
{
	(void)state;
	refused("name", -EINVAL, ":1: a line that is not KEY = VALUE");
	refused("\n\n= 5", -EINVAL, ":3: a line that is not KEY = VALUE");
	refused("name == 'x'", -EINVAL, ":1: ");
	refused("name = 'x", -EINVAL, "closing quote");
	refused("name = 'x\n'", -EINVAL, "closing quote");
	refused("name = \"x'", -EINVAL, "closing quote");
	refused("name = ", -EINVAL, ":1: a value that is neither");
	refused("memory = 12abc", -EINVAL, "a value that is neither");
	refused("memory = 99999999999999999999", -EINVAL, "a value that is neither");
	refused("memory = 1.5", -EINVAL, "behind the value");
	refused("name = 'x' 'y'", -EINVAL, "behind the value");
	refused("#\n#\nvif = [ 'a' 'b' ]", -EINVAL, ":3: a list without");
	refused("vif = [", -EINVAL, "a value that is neither");
	refused("vif = [[[[[[[[[[[[1]]]]]]]]]]]]", -EINVAL, "too deep");
	refused("name = '\xff\xfe'", -EINVAL, "not UTF-8");
	refused("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa = 1", -EINVAL, ":1: ");
	refused("def f(): pass", -EINVAL, ":1: ");
}

static void test_values_of_the_wrong_kind_are_refused_by_key(void **state)
{
	(void)state;
	refused("memory = '512'", -EINVAL, "memory: a number is wanted");
	refused("vcpus = []", -EINVAL, "vcpus: a number is wanted");
	refused("name = 5", -EINVAL, "name: a string is wanted");
	refused("kernel = ['x']", -EINVAL, "kernel: a string is wanted");
	refused("on_crash = 'coredump-restart'", -EINVAL, "on_crash: destroy, restart or preserve");
	refused("on_reboot = 1", -EINVAL, "on_reboot: a string is wanted");
}

/* Every beginning of a good file is a good file or is refused; neither crashes nor leaks. */
static void test_every_beginning_of_a_file_is_handled(void **state)
{
	static const char text[] = "# c\nname = 'web'\nmemory=512\npci = [ 'a', [1], \"b\" ] # x\nextra=\"q\"\n";

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		char *exact = strndup(text, n), *ignored = NULL;
		json_t *o = NULL;

		if (xlcfg_parse(exact, "f", &o, &ignored, NULL) == 0) {
			json_decref(o);
			free(ignored);
		}
		free(exact);
	}
}

/* ---- what kind of file it is ---- */

static void kind_is(const void *head, size_t at, size_t len, int want, const char *why)
{
	_cleanup_free_ uint8_t *b = calloc(1, FILEKIND_BYTES);
	struct err err = { 0 };

	memcpy(b + at, head, len);
	assert_int_equal(filekind(b, FILEKIND_BYTES, "web", &err), want);
	if (why && !strstr(err.msg, why))
		fail_msg("'%s' does not say '%s'", err.msg, why);
}

static void test_a_disk_is_told_from_a_configuration(void **state)
{
	static const char text[] = "# Gr\xc3\xbc\xc3\x9f\x65\nname = \"web\"\r\n\tmemory = 1\n";

	(void)state;
	assert_int_equal(filekind((const uint8_t *)text, sizeof(text) - 1, "web", NULL), FILEKIND_TEXT);
	assert_int_equal(filekind((const uint8_t *)"", 0, "web", NULL), FILEKIND_TEXT);
	kind_is("\x55\xaa", 510, 2, FILEKIND_DISK, NULL);
	kind_is("EFI PART", 512, 8, FILEKIND_DISK, NULL);
	kind_is("\x53\xef", 1080, 2, FILEKIND_DISK, NULL);
	kind_is("_BHRfS_M", 65600, 8, FILEKIND_DISK, NULL);
}

static void test_what_is_neither_is_refused_in_a_sentence(void **state)
{
	static const uint8_t elf[64] = "\x7f"
				       "ELF";

	(void)state;
	kind_is("", 0, 1, -EINVAL, "web is neither a configuration");
	kind_is("name = 1", 0, 8, -EINVAL, "neither"); /* text, and then zeros */
	kind_is("QFI\xfb", 0, 4, -EINVAL, "is a qcow2 image");
	assert_int_equal(filekind(elf, sizeof(elf), "web", NULL), -EINVAL);
	assert_int_equal(filekind((const uint8_t *)"a\0b", 3, "web", NULL), -EINVAL);
}

static void test_a_network_is_changed(void **state)
{
	json_auto_t *nic = json_pack("{s:s, s:s, s:b}", "type", "user", "mac", "00:16:3e:00:00:01", "restricted", 1);
	struct err err = { 0 };

	(void)state;
	assert_int_equal(nicspec_change("mac=00:16:3e:00:00:02", nic, &err), 0);
	assert_string_equal(json_string_value(json_object_get(nic, "mac")), "00:16:3e:00:00:02");
	assert_string_equal(json_string_value(json_object_get(nic, "type")), "user");
	assert_true(json_is_true(json_object_get(nic, "restricted")));
	assert_int_equal(nicspec_change("bridge=br1", nic, &err), 0); /* what it was as another kind is gone */
	assert_string_equal(json_string_value(json_object_get(nic, "mac")), "00:16:3e:00:00:02");
	assert_string_equal(json_string_value(json_object_get(nic, "type")), "tap");
	assert_null(json_object_get(nic, "restricted"));
	assert_int_equal(nicspec_change("brdge=br1", nic, &err), -EINVAL);
	assert_string_equal(json_string_value(json_object_get(nic, "bridge")), "br1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_network_is_changed),
		cmocka_unit_test(test_a_whole_file_is_taken),
		cmocka_unit_test(test_nothing_is_a_configuration_too),
		cmocka_unit_test(test_comments_and_quotes_do_not_mix),
		cmocka_unit_test(test_a_command_line_is_made_of_root_and_extra),
		cmocka_unit_test(test_what_is_not_used_is_named),
		cmocka_unit_test(test_disks_are_read_as_xl_reads_them),
		cmocka_unit_test(test_networks_are_read_as_xl_reads_them),
		cmocka_unit_test(test_shares_are_folders_with_a_tag),
		cmocka_unit_test(test_published_ports_are_of_the_user_network),
		cmocka_unit_test(test_paths_become_absolute),
		cmocka_unit_test(test_only_pvh_is_possible),
		cmocka_unit_test(test_syntax_errors_have_a_line),
		cmocka_unit_test(test_values_of_the_wrong_kind_are_refused_by_key),
		cmocka_unit_test(test_every_beginning_of_a_file_is_handled),
		cmocka_unit_test(test_a_disk_is_told_from_a_configuration),
		cmocka_unit_test(test_what_is_neither_is_refused_in_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
