/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From kernel files to memory that is ready for the first instruction. The kernels are made here:
 * a few bytes of code with what the loader looks for.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <lz4.h>
#include <lzma.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>
#include <xen/elfnote.h>
#include <xen/xen.h>
#include <xen/arch-x86/hvm/start_info.h>

#include "base/addr.h"
#include "base/io.h"
#include "boot/acpi.h"
#include "boot/kernel.h"

#define PADDR 0x100000
#define ENTRY 0x100040
#define CODE  256 /* bytes of it in the file */
#define RAM   (64 * MIB)

struct note {
	Elf64_Nhdr h;
	char name[4];
	uint32_t value;
};

struct elf64 {
	Elf64_Ehdr h;
	Elf64_Phdr load, notes;
	struct note entry, cancel;
	uint8_t code[CODE];
};

struct elf32 {
	Elf32_Ehdr h;
	Elf32_Phdr load, notes;
	struct note entry, cancel;
	uint8_t code[CODE];
};

static struct note make_note(uint32_t type, uint32_t value)
{
	return (struct note){ { 4, 4, type }, "Xen", value };
}

#define MAKE_ELF(bits, class, machine)                                                                                 \
	static struct elf##bits make_elf##bits(void)                                                                   \
	{                                                                                                              \
		struct elf##bits e = {                                                                                 \
			.h = { .e_ident = { 0x7f, 'E', 'L', 'F', class, ELFDATA2LSB, EV_CURRENT },                     \
			       .e_type = ET_EXEC,                                                                      \
			       .e_machine = machine,                                                                   \
			       .e_version = EV_CURRENT,                                                                \
			       .e_phoff = offsetof(struct elf##bits, load),                                            \
			       .e_ehsize = sizeof(Elf##bits##_Ehdr),                                                   \
			       .e_phentsize = sizeof(Elf##bits##_Phdr),                                                \
			       .e_phnum = 2 },                                                                         \
			.load = { .p_type = PT_LOAD,                                                                   \
				  .p_flags = PF_R | PF_X,                                                              \
				  .p_offset = offsetof(struct elf##bits, code),                                        \
				  .p_paddr = PADDR,                                                                    \
				  .p_filesz = CODE,                                                                    \
				  .p_memsz = 8192 },                                                                   \
			.notes = { .p_type = PT_NOTE,                                                                  \
				   .p_offset = offsetof(struct elf##bits, entry),                                      \
				   .p_filesz = 2 * sizeof(struct note) },                                              \
			.entry = make_note(XEN_ELFNOTE_PHYS32_ENTRY, ENTRY),                                           \
			.cancel = make_note(XEN_ELFNOTE_SUSPEND_CANCEL, 1),                                            \
		};                                                                                                     \
                                                                                                                       \
		memset(e.code, 0xcc, sizeof(e.code));                                                                  \
		return e;                                                                                              \
	}

MAKE_ELF(64, ELFCLASS64, EM_X86_64)
MAKE_ELF(32, ELFCLASS32, EM_386)

static struct gmem *mem;

static int setup(void **state)
{
	(void)state;
	return gmem_new(RAM, &mem, NULL);
}

static int teardown(void **state)
{
	(void)state;
	gmem_free(mem);
	return 0;
}

/* ---- ELF ---- */

static void check_elf(const void *file, size_t len)
{
	struct kernel_elf elf;
	struct err err = { 0 };
	uint64_t end;
	const uint8_t *p = gmem_hva(mem, PADDR, 8192);

	memset(gmem_hva(mem, PADDR, 8192), 0x77, 8192);
	assert_int_equal(kernel_parse(file, len, &elf, &err), 0);
	assert_true(elf.has_entry && elf.suspend_cancel);
	assert_int_equal(elf.entry, ENTRY);
	assert_int_equal(elf.segments, 1);
	assert_int_equal(kernel_place(&elf, mem, &end, &err), 0);
	assert_int_equal(end, PADDR + 8192);
	for (int i = 0; i < 8192; i++)
		assert_int_equal(p[i], i < CODE ? 0xcc : 0);
}

static void test_elf_files_of_both_classes_are_placed(void **state)
{
	struct elf64 e64 = make_elf64();
	struct elf32 e32 = make_elf32();

	(void)state;
	check_elf(&e64, sizeof(e64));
	check_elf(&e32, sizeof(e32));
}

static void test_truncated_elf_files_are_refused(void **state)
{
	struct elf64 e = make_elf64();

	(void)state;
	for (size_t len = 0; len < sizeof(e); len++) {
		uint8_t *exact = malloc(len ? len : 1);
		struct kernel_elf elf;
		struct err err = { 0 };

		memcpy(exact, &e, len);
		assert_true(kernel_parse(exact, len, &elf, &err) < 0);
		assert_true(err.msg[0]);
		free(exact);
	}
}

static int parse64(const struct elf64 *e, struct kernel_elf *ret)
{
	return kernel_parse((const uint8_t *)e, sizeof(*e), ret, NULL);
}

static void test_elf_headers_that_make_no_sense_are_refused(void **state)
{
	static const uint64_t evil[] = { sizeof(struct elf64), UINT32_MAX, INT64_MAX, UINT64_MAX, UINT64_MAX - 4 };
	struct kernel_elf elf;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(evil); i++) {
		struct elf64 e = make_elf64();

		e.h.e_phoff = evil[i];
		assert_int_equal(parse64(&e, &elf), -EINVAL);
		e = make_elf64();
		e.load.p_offset = evil[i];
		assert_int_equal(parse64(&e, &elf), -EINVAL);
		e = make_elf64();
		e.load.p_filesz = e.load.p_memsz = evil[i];
		assert_int_equal(parse64(&e, &elf), -EINVAL);
		e = make_elf64();
		e.notes.p_filesz = evil[i];
		assert_int_equal(parse64(&e, &elf), -EINVAL);
		e = make_elf64();
		e.load.p_paddr = UINT64_MAX - 100;
		assert_int_equal(parse64(&e, &elf), -EINVAL);
		e = make_elf64();
		e.entry.h.n_namesz = e.entry.h.n_descsz = (uint32_t)evil[i]; /* hides what follows */
		assert_int_equal(parse64(&e, &elf), 0);
		assert_false(elf.suspend_cancel);
	}
}

static void test_more_in_the_file_than_in_memory_is_refused(void **state)
{
	struct elf64 e = make_elf64();
	struct kernel_elf elf;

	(void)state;
	e.load.p_memsz = CODE - 1;
	assert_int_equal(parse64(&e, &elf), -EINVAL);
	e.load.p_memsz = 0; /* nothing to load */
	assert_int_equal(parse64(&e, &elf), 0);
	assert_int_equal(elf.segments, 0);
}

static void test_other_files_are_no_elf(void **state)
{
	struct elf64 e = make_elf64();
	struct kernel_elf elf;
	uint8_t *unpacked;
	size_t len;

	(void)state;
	e.h.e_ident[EI_DATA] = ELFDATA2MSB;
	assert_int_equal(parse64(&e, &elf), -ENOEXEC);
	e = make_elf64();
	e.h.e_ident[0] = 0;
	assert_int_equal(parse64(&e, &elf), -ENOEXEC);
	assert_int_equal(kernel_unpack((uint8_t *)&e, sizeof(e), &unpacked, &len, NULL), -ENOEXEC);
}

static void test_segments_outside_of_memory_are_refused(void **state)
{
	static const uint64_t where[] = { RAM, RAM - 4096, GMEM_XENSTORE_GPA, GMEM_ACPI_GPA, UINT64_C(1) << 40 };
	struct kernel_elf elf;
	uint64_t end;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(where); i++) {
		struct elf64 e = make_elf64();
		struct err err = { 0 };

		e.load.p_paddr = where[i];
		assert_int_equal(parse64(&e, &elf), 0);
		assert_int_equal(kernel_place(&elf, mem, &end, &err), -ENOMEM);
		assert_non_null(strstr(err.msg, "64 MiB"));
	}
}

/* ---- bzImage ---- */

struct packed {
	uint8_t buf[4096];
	size_t len;
};

static struct packed wrap(const uint8_t *payload, size_t n, uint32_t size)
{
	struct packed p = { .len = 1024 + n + 4 };
	uint32_t length = (uint32_t)n + 4;

	p.buf[0x1f1] = 1;
	memcpy(p.buf + 0x202, "HdrS\x0f\x02", 6);
	memcpy(p.buf + 0x24c, &length, 4);
	memcpy(p.buf + 1024, payload, n);
	memcpy(p.buf + 1024 + n, &size, 4);
	return p;
}

enum packer { GZIP, XZ, LZMA, ZSTD, LZ4, PACKERS };

static struct packed pack(enum packer how, const void *file, uint32_t size)
{
	uint8_t out[3000];
	size_t n = 0;
	lzma_options_lzma o;
	lzma_stream s = LZMA_STREAM_INIT;
	z_stream z = {
		.next_in = (Bytef *)(uintptr_t)file, .avail_in = size, .next_out = out, .avail_out = sizeof(out)
	};

	switch (how) {
	case GZIP:
		assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
		assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
		n = z.total_out;
		deflateEnd(&z);
		break;
	case XZ:
		assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, file, size, out, &n, sizeof(out)),
				 LZMA_OK);
		break;
	case LZMA:
		lzma_lzma_preset(&o, 6);
		assert_int_equal(lzma_alone_encoder(&s, &o), LZMA_OK);
		s.next_in = file;
		s.avail_in = size;
		s.next_out = out;
		s.avail_out = sizeof(out);
		assert_int_equal(lzma_code(&s, LZMA_FINISH), LZMA_STREAM_END);
		n = s.total_out;
		lzma_end(&s);
		break;
	case ZSTD:
		n = ZSTD_compress(out, sizeof(out), file, size, 19);
		assert_false(ZSTD_isError(n));
		break;
	default:
		memcpy(out, "\x02\x21\x4c\x18", 4);
		n = (size_t)LZ4_compress_default(file, (char *)out + 8, (int)size, sizeof(out) - 8);
		memcpy(out + 4, &(uint32_t){ (uint32_t)n }, 4);
		n += 8;
	}
	return wrap(out, n, size);
}

static void test_bzimages_of_every_packer_are_unpacked(void **state)
{
	struct elf64 e = make_elf64();

	(void)state;
	for (int how = 0; how < PACKERS; how++) {
		struct packed p = pack(how, &e, sizeof(e));
		_cleanup_free_ uint8_t *out = NULL;
		struct err err = { 0 };
		size_t len;

		if (kernel_unpack(p.buf, p.len, &out, &len, &err))
			fail_msg("packer %d: %s", how, err.msg);
		assert_int_equal(len, sizeof(e));
		assert_memory_equal(out, &e, len);
	}
}

static void test_truncated_bzimages_are_refused(void **state)
{
	struct elf64 e = make_elf64();

	(void)state;
	for (int how = 0; how < PACKERS; how++) {
		struct packed p = pack(how, &e, sizeof(e));

		for (size_t len = 0; len < p.len; len++) {
			uint8_t *exact = malloc(len ? len : 1), *out = NULL;
			size_t n;

			memcpy(exact, p.buf, len);
			assert_true(kernel_unpack(exact, len, &out, &n, NULL) < 0);
			assert_null(out);
			free(exact);
		}
	}
}

static void test_a_wrong_unpacked_size_is_refused(void **state)
{
	static const uint32_t sizes[] = { 0, 1, sizeof(struct elf64) - 1, sizeof(struct elf64) + 1, UINT32_MAX };
	struct elf64 e = make_elf64();

	(void)state;
	for (int how = 0; how < PACKERS; how++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			struct packed p = pack(how, &e, sizeof(e));
			_cleanup_free_ uint8_t *out = NULL;
			struct err err = { 0 };
			size_t len;

			memcpy(p.buf + p.len - 4, &sizes[i], 4);
			/* LZMA without an end, asked for less, cannot tell that there is more. */
			if (kernel_unpack(p.buf, p.len, &out, &len, &err) == 0)
				assert_true(how == LZMA && sizes[i] < sizeof(e));
			else
				assert_non_null(strstr(err.msg, "bzImage"));
		}
	}
}

static void test_a_damaged_gzip_payload_is_refused(void **state)
{
	struct elf64 e = make_elf64();
	struct packed p = pack(GZIP, &e, sizeof(e));
	uint8_t *out;
	size_t len;

	(void)state;
	p.buf[p.len - 12] ^= 1; /* its checksum, before its length and ours */
	assert_int_equal(kernel_unpack(p.buf, p.len, &out, &len, NULL), -EINVAL);
}

static void test_bzimages_that_make_no_sense_are_refused(void **state)
{
	struct elf64 e = make_elf64();
	struct packed p = pack(GZIP, &e, sizeof(e));
	struct err err = { 0 };
	uint8_t *out;
	size_t len;

	(void)state;
	memcpy(p.buf + 0x248, &(uint32_t){ UINT32_MAX }, 4);
	assert_int_equal(kernel_unpack(p.buf, p.len, &out, &len, &err), -EINVAL);
	p = pack(GZIP, &e, sizeof(e));
	memcpy(p.buf + 0x24c, &(uint32_t){ UINT32_MAX }, 4);
	assert_int_equal(kernel_unpack(p.buf, p.len, &out, &len, &err), -EINVAL);
	p = pack(GZIP, &e, sizeof(e));
	p.buf[0x206] = 7;
	assert_int_equal(kernel_unpack(p.buf, p.len, &out, &len, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "too old"));
	p = wrap((const uint8_t *)"unknown packer, really", 22, 100);
	assert_int_equal(kernel_unpack(p.buf, p.len, &out, &len, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "does not know"));
}

/* ---- thunks ---- */

static const uint8_t vmmcall_ret[] = { 0x0f, 0x01, 0xd9, 0xc3 }, vmcall_ret[] = { 0x0f, 0x01, 0xc1, 0xc3 };

static struct boot_thunks find(const struct elf64 *e)
{
	struct boot_thunks t;
	struct kernel_elf elf;

	assert_int_equal(parse64(e, &elf), 0);
	kernel_find_thunks(&elf, &t);
	return t;
}

static void put_pair(struct elf64 *e, size_t at, size_t distance)
{
	memcpy(e->code + at, vmmcall_ret, 4);
	memcpy(e->code + at + distance, vmcall_ret, 4);
}

/* jmp to @target, as with return thunks */
static void put_jump(struct elf64 *e, size_t at, const uint8_t *insn, size_t target)
{
	int32_t offset = (int32_t)target - (int32_t)(at + 8);

	memcpy(e->code + at, insn, 3);
	e->code[at + 3] = 0xe9;
	memcpy(e->code + at + 4, &offset, 4);
}

static void test_the_pair_of_thunks_is_found(void **state)
{
	struct elf64 e = make_elf64();
	struct boot_thunks t;

	(void)state;
	assert_false(find(&e).found);
	put_pair(&e, 32, 32);
	t = find(&e);
	assert_true(t.found);
	assert_int_equal(t.gpa[0], PADDR + 32);
	assert_int_equal(t.gpa[1], PADDR + 64);
	e = make_elf64();
	put_jump(&e, 16, vmmcall_ret, 200);
	put_jump(&e, 48, vmcall_ret, 200);
	t = find(&e);
	assert_true(t.found);
	assert_int_equal(t.gpa[1], PADDR + 48);
}

static void test_decoys_are_no_thunks(void **state)
{
	struct elf64 e = make_elf64();

	(void)state;
	memcpy(e.code, vmmcall_ret, 4); /* alone */
	assert_false(find(&e).found);
	e = make_elf64();
	put_pair(&e, 0, 64); /* too far */
	assert_false(find(&e).found);
	e = make_elf64();
	memcpy(e.code, vmcall_ret, 4); /* the other way round */
	memcpy(e.code + 32, vmmcall_ret, 4);
	assert_false(find(&e).found);
	e = make_elf64();
	put_pair(&e, 0, 32);
	e.code[3] = 0x90; /* no return behind it */
	assert_false(find(&e).found);
	e = make_elf64();
	put_jump(&e, 16, vmmcall_ret, 200); /* returns that differ */
	put_jump(&e, 48, vmcall_ret, 208);
	assert_false(find(&e).found);
	e = make_elf64();
	put_pair(&e, 0, 32);
	e.load.p_flags = PF_R; /* data */
	assert_false(find(&e).found);
	e = make_elf64();
	memcpy(e.code + CODE - 3, vmmcall_ret, 3); /* the end of the segment */
	assert_false(find(&e).found);
}

static void test_decoys_beside_the_pair_do_not_hide_it(void **state)
{
	struct elf64 e = make_elf64();

	(void)state;
	memcpy(e.code, vmmcall_ret, 3);
	put_pair(&e, 80, 32);
	memcpy(e.code + 200, vmmcall_ret, 4);
	assert_true(find(&e).found);
	assert_int_equal(find(&e).gpa[0], PADDR + 80);
}

static void test_two_pairs_are_none(void **state)
{
	struct elf64 e = make_elf64();

	(void)state;
	put_pair(&e, 0, 32);
	put_pair(&e, 128, 32);
	assert_false(find(&e).found);
}

static void test_only_hypercalls_are_patched(void **state)
{
	struct boot_thunks t = { .found = true, .gpa = { PADDR, PADDR + 32 } };
	uint8_t *p = gmem_hva(mem, PADDR, 64);
	struct err err = { 0 };

	(void)state;
	memcpy(p, vmmcall_ret, 4);
	p[32] = 0x90;
	assert_int_equal(boot_thunks_patch(mem, &t, 0xf5, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "0x100020"));
	assert_memory_equal(p, vmmcall_ret, 4); /* both or none */
	memcpy(p + 32, vmcall_ret, 4);
	for (int i = 0; i < 2; i++) { /* again: it is patched already */
		assert_int_equal(boot_thunks_patch(mem, &t, 0xf5, &err), 0);
		assert_memory_equal(p, "\xe7\xf5\x90\xc3", 4);
		assert_memory_equal(p + 32, "\xe7\xf5\x90\xc3", 4);
	}
	t.gpa[1] = GMEM_XENSTORE_GPA;
	assert_int_equal(boot_thunks_patch(mem, &t, 0xf5, &err), -EINVAL);
	t.gpa[1] = RAM - 1;
	assert_int_equal(boot_thunks_patch(mem, &t, 0xf5, &err), -EINVAL);
}

static void test_the_hypercall_page_calls_its_numbers(void **state)
{
	uint8_t page[4096];

	(void)state;
	memset(page, 0xff, sizeof(page));
	boot_hypercall_page(page, 0xf5);
	for (unsigned int nr = 0; nr < 128; nr++) {
		const uint8_t stub[] = { 0xb8, (uint8_t)nr, 0, 0, 0, 0xe7, 0xf5, 0xc3 };

		assert_memory_equal(page + nr * 32, nr == 23 ? (const uint8_t *)"\x0f\x0b" : stub, nr == 23 ? 2 : 8);
	}
}

/* ---- ACPI ---- */

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *p++);
	return s;
}

static const uint8_t *table(uint64_t gpa, const char *signature, uint32_t *len)
{
	const uint8_t *p = gmem_hva(mem, gpa, 36);

	assert_non_null(p);
	assert_memory_equal(p, signature, 4);
	memcpy(len, p + 4, 4);
	p = gmem_hva(mem, gpa, *len);
	assert_non_null(p);
	assert_int_equal(sum(p, *len), 0);
	return p;
}

static uint64_t u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

static void test_acpi_tables_are_whole(void **state)
{
	(void)state;
	for (unsigned int vcpus = 1; vcpus <= 32; vcpus++) {
		uint64_t gpa = acpi_build(mem, vcpus);
		const uint8_t *rsdp = gmem_hva(mem, gpa, 36), *xsdt, *fadt, *madt;
		uint32_t len;

		assert_memory_equal(rsdp, "RSD PTR ", 8);
		assert_int_equal(sum(rsdp, 20), 0);
		assert_int_equal(sum(rsdp, 36), 0);
		xsdt = table(u64(rsdp + 24), "XSDT", &len);
		assert_int_equal(len, 36 + 2 * 8);
		fadt = table(u64(xsdt + 36), "FACP", &len);
		assert_int_equal(len, 276);
		table(u64(fadt + 140), "DSDT", &len);
		madt = table(u64(xsdt + 44), "APIC", &len);
		assert_int_equal(len, 44 + 12 + vcpus * 8);
		assert_memory_equal(madt + 44, ((uint8_t[]){ 1, 12, 1, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0 }), 12);
		for (unsigned int i = 0; i < vcpus; i++)
			assert_memory_equal(madt + 56 + i * 8,
					    ((uint8_t[]){ 0, 8, (uint8_t)i, (uint8_t)(2 * i), 1, 0, 0, 0 }), 8);
	}
}

/* What follows @name in a table. */
static const uint8_t *behind(const uint8_t *p, uint32_t len, const char *name)
{
	const uint8_t *at = memmem(p, len, name, strlen(name));

	assert_non_null(at);
	return at + strlen(name);
}

static uint32_t u32(const uint8_t *p)
{
	return (uint32_t)u64(p);
}

/* The DSDT is bytes that a compiler made of dsdt.asl; these are the numbers that acpi.h has, too. */
static void test_the_dsdt_says_where_the_generation_is(void **state)
{
	const uint8_t *rsdp = gmem_hva(mem, acpi_build(mem, 1), 36), *dsdt, *at;
	uint8_t bytes[ACPI_GENERATION_BYTES];
	uint32_t len;

	(void)state;
	dsdt = table(u64(table(u64(table(u64(rsdp + 24), "XSDT", &len) + 36), "FACP", &len) + 140), "DSDT", &len);
	at = behind(dsdt, len, "_S5_");
	assert_memory_equal(at, ((uint8_t[]){ 0x12, 7, 4, 0x0a, ACPI_SLEEP_TYPE_S5, 0, 0, 0 }), 8);
	behind(dsdt, len, "_CID\rVM_Gen_Counter");
	at = behind(dsdt, len, "ADDR");
	assert_memory_equal(at, ((uint8_t[]){ 0x12, 8, 2, 0x0c }), 4); /* Package (2) { dword, */
	assert_int_equal(u32(at + 4), ACPI_GENERATION_GPA);
	assert_int_equal(at[8], 0);
	at = behind(dsdt, len, "_CRS");
	assert_memory_equal(at + 4, ((uint8_t[]){ 0x89, 6, 0, 3, 1 }), 5); /* one interrupt: consumer, edge, high */
	assert_int_equal(u32(at + 9), ACPI_GENERATION_GSI);
	at = behind(dsdt, len, "_EVT");
	assert_memory_equal(at + 3, ((uint8_t[]){ 0x93, 0x68, 0x0a, ACPI_GENERATION_GSI, 0x86 }), 5); /* Arg0 == */
	assert_int_equal(ACPI_GENERATION_GPA % 16, 0);
	assert_int_equal(gmem_read(mem, ACPI_GENERATION_GPA, bytes, sizeof(bytes)), 0);
	assert_memory_equal(bytes, ((uint8_t[sizeof(bytes)]){ 0 }), sizeof(bytes)); /* nothing lies there */
}

/* ---- all of it ---- */

static char kernel[64], initrd[64];

static void write_file(char *path, const char *name, const void *buf, size_t len)
{
	int fd;

	snprintf(path, 64, "/tmp/nidra-%s.XXXXXX", name);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, buf, len), 0);
	close(fd);
}

static int setup_files(void **state)
{
	struct elf64 e = make_elf64();
	char content[10000];

	memset(content, 'i', sizeof(content));
	write_file(kernel, "kernel", &e, sizeof(e));
	write_file(initrd, "initrd", content, sizeof(content));
	return setup(state);
}

static int teardown_files(void **state)
{
	unlink(kernel);
	unlink(initrd);
	return teardown(state);
}

static void test_start_info_tells_what_is_where(void **state)
{
	struct boot_source source = { kernel, initrd, "root=/dev/xvda1 quiet", 2 };
	const struct hvm_start_info *s;
	const struct hvm_modlist_entry *module;
	const struct hvm_memmap_table_entry *map;
	struct boot_info info;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(boot_load(mem, &source, &info, &err), 0);
	assert_int_equal(info.entry, ENTRY);
	assert_true(info.suspend_cancel);
	assert_false(info.thunks.found);
	s = gmem_hva(mem, info.start_info, sizeof(*s));
	assert_int_equal(s->magic, XEN_HVM_START_MAGIC_VALUE);
	assert_int_equal(s->version, 1);
	assert_int_equal(s->nr_modules, 1);
	assert_string_equal(gmem_hva(mem, s->cmdline_paddr, 64), source.cmdline);
	assert_int_equal(s->rsdp_paddr, GMEM_ACPI_GPA);
	module = gmem_hva(mem, s->modlist_paddr, sizeof(*module));
	assert_int_equal(module->size, 10000);
	assert_int_equal(module->paddr % 4096, 0);
	assert_true(module->paddr >= PADDR + 8192 && module->paddr + module->size <= info.start_info);
	assert_int_equal(*(char *)gmem_hva(mem, module->paddr + 9999, 1), 'i');
	assert_int_equal(s->memmap_entries, 3);
	map = gmem_hva(mem, s->memmap_paddr, 3 * sizeof(*map));
	assert_int_equal(map[0].addr, 0);
	assert_int_equal(map[0].size, RAM);
	assert_int_equal(map[0].type, 1);
	assert_int_equal(map[1].addr, GMEM_ACPI_GPA);
	assert_int_equal(map[2].addr, GMEM_SPECIAL_GPA);
	source.initrd = NULL;
	assert_int_equal(boot_load(mem, &source, &info, &err), 0);
	assert_int_equal(s->nr_modules, 0);
}

static void test_memory_above_4_gib_is_in_the_map(void **state)
{
	struct boot_source source = { kernel, NULL, "", 1 };
	const struct hvm_memmap_table_entry *map;
	const struct hvm_start_info *s;
	struct boot_info info;
	struct gmem *small = mem;

	(void)state;
	assert_int_equal(gmem_new(6 * GIB, &mem, NULL), 0); /* never touched */
	assert_int_equal(boot_load(mem, &source, &info, NULL), 0);
	assert_true(info.start_info < GIB);
	s = gmem_hva(mem, info.start_info, sizeof(*s));
	assert_int_equal(s->memmap_entries, 4);
	map = gmem_hva(mem, s->memmap_paddr, 4 * sizeof(*map));
	assert_int_equal(map[0].size, GMEM_LOW_MAX);
	assert_int_equal(map[3].addr, GMEM_HIGH_GPA);
	assert_int_equal(map[3].size, 6 * GIB - GMEM_LOW_MAX);
	gmem_free(mem);
	mem = small;
}

static void refused(const struct boot_source *source, int code, const char *a, const char *b)
{
	struct boot_info info;
	struct err err = { 0 };

	assert_int_equal(boot_load(mem, source, &info, &err), code);
	if (!strstr(err.msg, a) || !strstr(err.msg, b))
		fail_msg("'%s' has no '%s' and '%s'", err.msg, a, b);
}

static void test_what_is_too_large_is_refused_in_a_sentence(void **state)
{
	struct boot_source source = { kernel, initrd, "", 1 };
	char cmdline[BOOT_CMDLINE_MAX + 2] = "";
	struct elf64 e = make_elf64();
	struct boot_info info;

	(void)state;
	memset(cmdline, 'a', BOOT_CMDLINE_MAX);
	source.cmdline = cmdline;
	assert_int_equal(boot_load(mem, &source, &info, NULL), 0);
	cmdline[BOOT_CMDLINE_MAX] = 'a';
	refused(&source, -E2BIG, "2048", "2047");
	source.cmdline = "";
	assert_int_equal(truncate(initrd, 63 * MIB), 0);
	refused(&source, -ENOMEM, initrd, "63 MiB");
	assert_int_equal(truncate(initrd, 65 * MIB), 0);
	refused(&source, -ENOMEM, initrd, "65 MiB");
	source.initrd = NULL;
	unlink(kernel);
	e.load.p_memsz = RAM - PADDR; /* fits, but leaves no room for start_info */
	write_file(kernel, "kernel", &e, sizeof(e));
	refused(&source, -ENOMEM, kernel, "leaves no room");
	unlink(kernel);
	e.load.p_memsz = RAM;
	write_file(kernel, "kernel", &e, sizeof(e));
	refused(&source, -ENOMEM, kernel, "64 MiB");
}

static void test_what_is_no_kernel_is_refused_in_a_sentence(void **state)
{
	struct boot_source source = { initrd, NULL, "", 1 };
	struct elf64 e = make_elf64();

	(void)state;
	refused(&source, -ENOEXEC, initrd, "neither a bzImage nor an ELF file");
	source.kernel = "/nonexistent";
	refused(&source, -ENOENT, "kernel", "/nonexistent");
	source = (struct boot_source){ kernel, "/nonexistent", "", 1 };
	refused(&source, -ENOENT, "initrd", "/nonexistent");
	source.initrd = NULL;
	unlink(kernel);
	e.entry.h.n_type = 99;
	write_file(kernel, "kernel", &e, sizeof(e));
	refused(&source, -ENOEXEC, kernel, "PHYS32_ENTRY");
}

#define t(name)	 cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
#define tf(name) cmocka_unit_test_setup_teardown(test_##name, setup_files, teardown_files)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(elf_files_of_both_classes_are_placed),
		t(truncated_elf_files_are_refused),
		t(elf_headers_that_make_no_sense_are_refused),
		t(more_in_the_file_than_in_memory_is_refused),
		t(other_files_are_no_elf),
		t(segments_outside_of_memory_are_refused),
		t(bzimages_of_every_packer_are_unpacked),
		t(truncated_bzimages_are_refused),
		t(a_wrong_unpacked_size_is_refused),
		t(a_damaged_gzip_payload_is_refused),
		t(bzimages_that_make_no_sense_are_refused),
		t(the_pair_of_thunks_is_found),
		t(decoys_are_no_thunks),
		t(decoys_beside_the_pair_do_not_hide_it),
		t(two_pairs_are_none),
		t(only_hypercalls_are_patched),
		t(the_hypercall_page_calls_its_numbers),
		t(acpi_tables_are_whole),
		t(the_dsdt_says_where_the_generation_is),
		tf(start_info_tells_what_is_where),
		tf(memory_above_4_gib_is_in_the_map),
		tf(what_is_too_large_is_refused_in_a_sentence),
		tf(what_is_no_kernel_is_refused_in_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
