/* SPDX-License-Identifier: Apache-2.0 */
/* What a disk boots: configurations of boot loaders, partition tables, and both when somebody altered them. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/served.h"
#include "base/thread.h"
#include "base/util.h"
#include "bootdisk/entry.h"
#include "bootdisk/parts.h"
#include "bootdisk/source.h"

/* "KERNEL|INITRD INITRD|COMMAND LINE" */
static char *entry_text(const struct boot_entry *e)
{
	char *s = NULL;

	assert_true(asprintf(&s, "%s|%s%s%s|%s", e->kernel, e->initrds ? e->initrd[0] : "", e->initrds > 1 ? " " : "",
			     e->initrds > 1 ? e->initrd[1] : "", e->cmdline) > 0);
	return s;
}

static void grub_boots(const char *text, const char *want)
{
	struct boot_entry e;
	struct err err = { 0 };
	_cleanup_free_ char *got = NULL;

	if (grubcfg_parse(text, strlen(text), &e, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
	got = entry_text(&e);
	assert_string_equal(got, want);
}

static void grub_refused(const char *text, int code)
{
	struct boot_entry e;
	struct err err = { 0 };

	assert_int_equal(grubcfg_parse(text, strlen(text), &e, &err), code);
	assert_int_not_equal(*err.msg, 0);
}

#define A "menuentry 'A' {\n linux /a root=a\n initrd /ia\n}\n"
#define B "menuentry \"B\" --id b {\n\tlinux16 /b root=b\n}\n"
#define C "menuentry 'C' $menuentry_id_option 'c-id' {\nlinuxefi /c\ninitrdefi /c1 /c2\n}\n"

static void test_the_default_entry_is_taken(void **state)
{
	(void)state;
	grub_boots(A B C, "/a|/ia|root=a");
	grub_boots("set default=0\n" A B C, "/a|/ia|root=a");
	grub_boots("set default=\"1\"\n" A B C, "/b||root=b");
	grub_boots("set default=2\n" A B C, "/c|/c1 /c2|");
	grub_boots("set default=B\n" A B C, "/b||root=b");
	grub_boots("set default='c-id'\n" A B C, "/c|/c1 /c2|");
	grub_boots("default=1\n" A B C, "/b||root=b");
	/* an empty value is a variable that nobody set, in a branch that was not taken */
	grub_boots("set default=1\nif [ \"$x\" ]; then\n set default=\"${x}\"\nfi\n" A B C, "/b||root=b");
	grub_boots("set default=c-id\nmenuentry_id_option=\"\"\n" A B C, "/c|/c1 /c2|");
	/* also where it stands behind them, as it is a script */
	grub_boots(A B C "set default=1", "/b||root=b");
}

static void test_a_default_that_is_not_there_is_the_first(void **state)
{
	(void)state;
	grub_boots("set default=7\n" A B, "/a|/ia|root=a");
	grub_boots("set default=saved\n" A B, "/a|/ia|root=a");
	grub_boots("set default=-1\n" A B, "/a|/ia|root=a");
	grub_boots("menuentry 'firmware' {\n fwsetup\n}\n" B, "/b||root=b");
	grub_boots("set default=0\nmenuentry 'firmware' {\n fwsetup\n}\n" B, "/b||root=b");
}

static void test_submenus_count_as_one_and_can_be_named(void **state)
{
	static const char menu[] = A "submenu 'More' --id more {\n" B C "}\n" C;

	(void)state;
	grub_boots(menu, "/a|/ia|root=a");
	for (int i = 0; i < 4; i++) {
		static const char *const name[] = { "1", "1>1", "more>b", "2" };
		static const char *const want[] = { "/b||root=b", "/c|/c1 /c2|", "/b||root=b", "/c|/c1 /c2|" };
		_cleanup_free_ char *text = NULL;

		assert_true(asprintf(&text, "set default=\"%s\"\n%s", name[i], menu) > 0);
		grub_boots(text, want[i]);
	}
	grub_boots("submenu 'Only' {\n" B "}\n", "/b||root=b");
}

/* What update-grub writes. */
static void test_debians_own_file_is_understood(void **state)
{
	(void)state;
	grub_boots("if [ -s $prefix/grubenv ]; then\n"
		   "  set have_grubenv=true\n"
		   "  load_env\n"
		   "fi\n"
		   "if [ \"${next_entry}\" ] ; then\n"
		   "   set default=\"${next_entry}\"\n"
		   "   set next_entry=\n"
		   "   save_env next_entry\n"
		   "else\n"
		   "   set default=\"0\"\n"
		   "fi\n"
		   "if [ x\"${feature_menuentry_id}\" = xy ]; then\n"
		   "  menuentry_id_option=\"--id\"\n"
		   "else\n"
		   "  menuentry_id_option=\"\"\n"
		   "fi\n"
		   "function savedefault {\n"
		   "  if [ -z \"${boot_once}\" ]; then saved_entry=\"${chosen}\"; save_env saved_entry; fi\n"
		   "}\n"
		   "### BEGIN /etc/grub.d/10_linux ###\n"
		   "menuentry 'Debian GNU/Linux' --class debian --class os $menuentry_id_option 'gnulinux-simple' {\n"
		   "\tload_video\n"
		   "\tif [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi\n"
		   "\tset root='hd0,msdos1'\n"
		   "\tsearch --no-floppy --fs-uuid --set=root 1-2\n"
		   "\techo\t'Loading Linux 6.1.0-13-amd64 ...'\n"
		   "\tlinux\t/boot/vmlinuz-6.1.0-13-amd64 root=UUID=1-2 ro  quiet $vt_handoff\n"
		   "\techo\t'Loading initial ramdisk ...'\n"
		   "\tinitrd\t/boot/initrd.img-6.1.0-13-amd64\n"
		   "}\n"
		   "submenu 'Advanced options' $menuentry_id_option 'gnulinux-advanced' {\n" A "}\n",
		   "/boot/vmlinuz-6.1.0-13-amd64|/boot/initrd.img-6.1.0-13-amd64|root=UUID=1-2 ro quiet");
}

static void test_words_are_a_shells(void **state)
{
	(void)state;
	grub_boots("set opts='ro quiet'\nmenuentry x { # why\n linux ($root)/k $opts ${none} a\\ b 'c d' e=\"f\" \\\n "
		   "last\n}",
		   "/k||ro quiet a b \"c d\" e=f last");
	grub_boots("menuentry x { linux /k a; initrd /i; }", "/k|/i|a");
	grub_boots("menuentry x {\n if true; then linux /k 1; else linux /k 2; fi\n}", "/k||2");
	grub_boots("menuentry x {\nlinux /k a\x01\x1b[31mb\n}", "/k||a  [31mb");
}

static void test_a_file_without_kernels_is_refused(void **state)
{
	_cleanup_free_ char *text = malloc(70000);

	(void)state;
	grub_refused("", -ENOENT);
	grub_refused("set default=0\n", -ENOENT);
	grub_refused("linux /k\n", -ENOENT);
	grub_refused("menuentry x {\n multiboot /xen.gz\n}\n", -ENOENT);
	grub_refused("menuentry x {{{{{{", -ENOENT);
	strcpy(text, "menuentry x {\nlinux /k ");
	memset(text + strlen(text), 'a', 3000);
	strcpy(text + 3020, "\n}\n");
	grub_refused(text, -E2BIG);
}

static void test_altered_files_harm_nobody(void **state)
{
	static const char good[] =
		"set default=\"1>0\"\n" A "submenu 's' {\n" B "}\nmenuentry \"${x}\" {\n linux /k \"a b\"\n}\n";
	struct boot_entry e;

	(void)state;
	for (size_t i = 0; i < sizeof(good) - 1; i++) {
		/* exactly as long as it says, so that a sanitizer sees a read behind its end */
		_cleanup_free_ char *text = malloc(sizeof(good) - 1);

		grubcfg_parse(memcpy(text, good, sizeof(good) - 1), i, &e, NULL);
		for (const char *c = "{}'\"$\\\n;>#\xff "; *c; c++) {
			memcpy(text, good, sizeof(good) - 1);
			text[i] = *c;
			grubcfg_parse(text, sizeof(good) - 1, &e, NULL);
			extlinux_parse(text, sizeof(good) - 1, &e, NULL);
		}
	}
}

static void extlinux_boots(const char *text, const char *want)
{
	struct boot_entry e;
	struct err err = { 0 };
	_cleanup_free_ char *got = NULL;

	if (extlinux_parse(text, strlen(text), &e, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
	got = entry_text(&e);
	assert_string_equal(got, want);
}

static void test_extlinux_labels(void **state)
{
	static const char two[] = "label a\n  kernel /a\n  append root=a initrd=/ia quiet\n"
				  "LABEL b\n\tLINUX ../b\n\tINITRD /b1,/b2\n\tAPPEND  root=b\r\n";
	struct boot_entry e;
	char text[256];

	(void)state;
	extlinux_boots(two, "/a|/ia|root=a quiet");
	snprintf(text, sizeof(text), "default b\n%s", two);
	extlinux_boots(text, "../b|/b1 /b2|root=b");
	snprintf(text, sizeof(text), "%sdefault b\n", two);
	extlinux_boots(text, "../b|/b1 /b2|root=b");
	snprintf(text, sizeof(text), "%s menu default\n", two);
	extlinux_boots(text, "../b|/b1 /b2|root=b");
	assert_int_equal(extlinux_parse("label a\n", 8, &e, NULL), -ENOENT);
}

static void test_a_console_is_added_if_none_is_ours(void **state)
{
	static const char *const rows[][2] = {
		{ "", "console=hvc0" },
		{ "ro quiet", "ro quiet console=hvc0" },
		{ "console=hvc0 ro", "console=hvc0 ro" },
		{ "console=ttyS0", "console=ttyS0 console=hvc0" },
		{ "xconsole=hvc0", "xconsole=hvc0 console=hvc0" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct boot_entry e = { 0 };

		strcpy(e.cmdline, rows[i][0]);
		assert_int_equal(entry_add_console(&e, NULL), 0);
		assert_string_equal(e.cmdline, rows[i][1]);
	}
}

static void test_a_command_line_has_an_end(void **state)
{
	struct boot_entry e = { 0 };
	struct err err;
	int words = 0;

	(void)state;
	while (entry_add_word(&e, "0123456", &err) == 0)
		words++;
	assert_int_equal(words, 256); /* 2047 bytes with the spaces between them */
	assert_int_equal(strlen(e.cmdline), ENTRY_CMDLINE_MAX);
	assert_int_equal(entry_add_word(&e, "x", &err), -E2BIG);
	assert_int_equal(entry_add_word(&e, "", &err), 0);
}

/* ---- partitions ---- */

#define DISK_BYTES (1 << 20)

static int read_disk(void *arg, void *buf, size_t len, uint64_t offset)
{
	if (offset > DISK_BYTES || len > DISK_BYTES - offset)
		return -ENODATA;
	memcpy(buf, (uint8_t *)arg + offset, len);
	return 0;
}

static void put_mbr(uint8_t *disk, uint32_t sector, int i, uint8_t type, uint32_t first, uint32_t count)
{
	uint8_t *b = disk + sector * 512, *e = b + 446 + i * 16;

	b[510] = 0x55;
	b[511] = 0xaa;
	e[4] = type;
	memcpy(e + 8, &first, 4);
	memcpy(e + 12, &count, 4);
}

/* "FIRST+COUNT ..." in sectors of 512 */
static void parts_are(uint8_t *disk, const char *want)
{
	struct part p[PARTS_MAX];
	size_t n = parts_find(read_disk, disk, DISK_BYTES, p);
	char got[4096] = "";

	for (size_t i = 0; i < n; i++) {
		assert_true(p[i].offset + p[i].bytes <= DISK_BYTES);
		sprintf(got + strlen(got), "%s%llu+%llu", i ? " " : "", (unsigned long long)p[i].offset / 512,
			(unsigned long long)p[i].bytes / 512);
	}
	assert_string_equal(got, want);
}

static void test_mbr_partitions_and_logical_ones(void **state)
{
	_cleanup_free_ uint8_t *disk = calloc(1, DISK_BYTES);

	(void)state;
	parts_are(disk, "0+2048");
	put_mbr(disk, 0, 0, 0x83, 8, 100);
	put_mbr(disk, 0, 2, 0x83, 200, 99999); /* cut at the end */
	put_mbr(disk, 0, 3, 0x83, 5000, 1);    /* behind it */
	parts_are(disk, "8+100 200+1848 0+2048");
	put_mbr(disk, 0, 2, 0x05, 300, 200);
	put_mbr(disk, 300, 0, 0x83, 1, 10);
	put_mbr(disk, 300, 1, 0x05, 50, 60);
	put_mbr(disk, 350, 0, 0x83, 2, 20);
	parts_are(disk, "8+100 301+10 352+20 0+2048");
}

static void test_a_chain_in_a_circle_ends(void **state)
{
	_cleanup_free_ uint8_t *disk = calloc(1, DISK_BYTES);
	struct part p[PARTS_MAX];

	(void)state;
	put_mbr(disk, 0, 0, 0x05, 300, 200);
	put_mbr(disk, 300, 0, 0x83, 1, 10);
	put_mbr(disk, 300, 1, 0x05, 50, 60);
	put_mbr(disk, 350, 0, 0x83, 1, 10);
	put_mbr(disk, 350, 1, 0x05, 50, 60);
	assert_true(parts_find(read_disk, disk, DISK_BYTES, p) <= PARTS_MAX);
}

static void put_gpt(uint8_t *disk, uint32_t sector, uint32_t entry_bytes)
{
	uint64_t table = 2, first = 40, last = 47, bad = UINT64_MAX;
	uint32_t count = 3;

	memcpy(disk + sector, "EFI PART", 8);
	memcpy(disk + sector + 72, &table, 8);
	memcpy(disk + sector + 80, &count, 4);
	memcpy(disk + sector + 84, &entry_bytes, 4);
	for (uint32_t i = 0; i < 3; i++) {
		uint8_t *e = disk + 2 * sector + i * entry_bytes;

		e[0] = i == 0 ? 0 : 1; /* the first is unused */
		memcpy(e + 32, &first, 8);
		memcpy(e + 40, i == 2 ? &bad : &last, 8);
	}
}

static void test_gpt_partitions(void **state)
{
	_cleanup_free_ uint8_t *disk = calloc(1, DISK_BYTES);

	(void)state;
	put_mbr(disk, 0, 0, 0xee, 1, 0xffffffff);
	put_gpt(disk, 512, 128);
	parts_are(disk, "40+8 0+2048");
	memset(disk + 512, 0, 4096);
	put_gpt(disk, 4096, 256);
	parts_are(disk, "320+64 0+2048");
	put_gpt(disk, 4096, 64);
	parts_are(disk, "0+2048");
}

static void test_any_byte_of_a_table_may_be_altered(void **state)
{
	_cleanup_free_ uint8_t *disk = calloc(1, DISK_BYTES);

	(void)state;
	put_mbr(disk, 0, 0, 0xee, 1, 0xffffffff);
	put_mbr(disk, 0, 1, 0x05, 8, 100);
	put_gpt(disk, 512, 128);
	for (size_t i = 0; i < 2048; i++)
		for (int bit = 0; bit < 8; bit++) {
			struct part p[PARTS_MAX];
			size_t n;

			disk[i] ^= (uint8_t)(1 << bit);
			n = parts_find(read_disk, disk, DISK_BYTES, p);
			assert_in_range(n, 1, PARTS_MAX);
			for (size_t k = 0; k < n; k++)
				assert_true(p[k].offset <= DISK_BYTES && p[k].bytes <= DISK_BYTES - p[k].offset);
			disk[i] ^= (uint8_t)(1 << bit);
		}
}

/* ---- a disk that is no file ---- */

#define SERVED (40u * SERVED_MAX + 4096)

static unsigned int questions;

static int read_pattern(void *arg, void *buf, size_t len, uint64_t offset)
{
	(void)arg;
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)((offset + i) * 7 + (offset + i) / 509);
	questions++;
	return 0;
}

static void *serve(void *arg)
{
	served_answer(*(int *)arg, SERVED, read_pattern, NULL);
	return NULL;
}

static void assert_source(int fd, uint64_t offset, size_t len)
{
	static uint8_t got[SERVED], want[SERVED];
	unsigned int asked = questions;

	assert_int_equal(source_read(fd, got, len, offset), 0);
	asked = questions - asked;
	read_pattern(NULL, want, len, offset);
	questions--;
	assert_memory_equal(got, want, len);
	assert_in_range(asked, 0, len / SERVED_MAX + 2);
}

static void test_a_disk_that_is_served_reads_as_a_file(void **state)
{
	uint64_t bytes;
	pthread_t thread;
	int fd[2], null;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
	assert_int_equal(thread_start(&thread, serve, &fd[0]), 0);
	assert_int_equal(source_open(fd[1], &bytes), 0);
	assert_int_equal(bytes, SERVED);
	assert_true(source_is_served());
	for (uint64_t at = 0; at < SERVED; at += 4096) /* as libext2fs does */
		assert_source(fd[1], at, 4096);
	assert_in_range(questions, 41, 41);
	assert_source(fd[1], 0, SERVED);
	assert_source(fd[1], SERVED_MAX - 1, 2);
	assert_source(fd[1], SERVED - 1, 1);
	for (uint64_t i = 1; i < 500; i++)
		assert_source(fd[1], i * 7919 * 131 % (SERVED - 5000), i * 10);
	assert_int_equal(source_read(fd[1], &bytes, 2, SERVED - 1), -ENODATA);
	assert_int_equal(source_read(fd[1], &bytes, 1, UINT64_MAX), -ENODATA);
	close(fd[1]);
	pthread_join(thread, NULL);
	close(fd[0]);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(source_open(null, &bytes), 0);
	assert_false(source_is_served());
	close(null);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_default_entry_is_taken),
		cmocka_unit_test(test_a_default_that_is_not_there_is_the_first),
		cmocka_unit_test(test_submenus_count_as_one_and_can_be_named),
		cmocka_unit_test(test_debians_own_file_is_understood),
		cmocka_unit_test(test_words_are_a_shells),
		cmocka_unit_test(test_a_file_without_kernels_is_refused),
		cmocka_unit_test(test_altered_files_harm_nobody),
		cmocka_unit_test(test_extlinux_labels),
		cmocka_unit_test(test_a_console_is_added_if_none_is_ours),
		cmocka_unit_test(test_a_command_line_has_an_end),
		cmocka_unit_test(test_mbr_partitions_and_logical_ones),
		cmocka_unit_test(test_a_chain_in_a_circle_ends),
		cmocka_unit_test(test_gpt_partitions),
		cmocka_unit_test(test_any_byte_of_a_table_may_be_altered),
		cmocka_unit_test(test_a_disk_that_is_served_reads_as_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
