/* SPDX-License-Identifier: Apache-2.0 */
/* Source of the layouts: ACPI specification 6.4, chapter 5. */
#include "boot/acpi.h"

#include <string.h>

#include "base/addr.h"
#include "boot/dsdt.h"

#define FLAG_HW_REDUCED (1u << 20)
#define IAPC_NO_VGA	(1u << 2)
#define IAPC_NO_CMOS	(1u << 5)
#define LAPIC_GPA	0xfee00000u
#define IOAPIC_ID	1
#define APIC_ID(vcpu)	((uint8_t)((vcpu)*2)) /* as Xen's toolstack numbers them; CPUID says so, too */

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct gas { /* generic address structure */
	uint8_t space, bits, offset, access;
	uint64_t address;
} __attribute__((packed));

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

struct fadt {
	struct header h;
	uint32_t facs, dsdt;
	uint8_t pad1[64];
	uint8_t century;
	uint16_t iapc_boot_arch;
	uint8_t pad2;
	uint32_t flags;
	uint8_t pad3[24];
	uint64_t x_dsdt;
	uint8_t pad4[96];
	struct gas sleep_control, sleep_status;
	uint64_t hypervisor;
} __attribute__((packed));
_Static_assert(sizeof(struct fadt) == 276, "FADT of revision 6");
_Static_assert(offsetof(struct fadt, sleep_control) == 244, "FADT");
_Static_assert(offsetof(struct fadt, x_dsdt) == 140, "FADT");

struct madt_lapic {
	uint8_t type, length, uid, apic_id;
	uint32_t flags;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, first_gsi;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_ioapic) == 12, "MADT");

/* Everything in one blob; offsets are the struct's. */
struct tables {
	struct rsdp rsdp;
	uint8_t pad1[28];
	struct {
		struct header h;
		uint64_t entry[2];
	} __attribute__((packed)) xsdt;
	uint8_t pad2[12];
	struct fadt fadt;
	uint8_t pad3[12];
	struct {
		struct header h;
		uint8_t aml[DSDT_AML_LEN];
	} __attribute__((packed)) dsdt;
	uint8_t pad4[4];
	struct {
		struct header h;
		uint32_t lapic_address, flags;
		struct madt_ioapic ioapic;
		struct madt_lapic lapic[32];
	} __attribute__((packed)) madt;
} __attribute__((packed));
_Static_assert(sizeof(struct tables) <= ACPI_GENERATION_GPA - GMEM_ACPI_GPA, "ACPI blob");
_Static_assert(ACPI_GENERATION_GPA + ACPI_GENERATION_BYTES <= GMEM_ACPI_GPA + GMEM_ACPI_BYTES, "generation");

static uint8_t checksum(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *b++);
	return (uint8_t)-sum;
}

static void finish(struct header *h, const char *signature, size_t length, uint8_t revision)
{
	memcpy(h->signature, signature, sizeof(h->signature));
	memcpy(h->oem_id, "NIDRA ", sizeof(h->oem_id));
	memcpy(h->oem_table, "NIDRAPVH", sizeof(h->oem_table));
	memcpy(h->creator, "NIDR", sizeof(h->creator));
	h->oem_revision = h->creator_revision = 1;
	h->length = (uint32_t)length;
	h->revision = revision;
	h->checksum = 0;
	h->checksum = checksum(h, length);
}

static struct gas io_port(uint16_t port)
{
	return (struct gas){ .space = 1, .bits = 8, .access = 1, .address = port };
}

static void fill_fadt(struct tables *t, uint64_t gpa)
{
	t->fadt.dsdt = (uint32_t)(gpa + offsetof(struct tables, dsdt));
	t->fadt.x_dsdt = t->fadt.dsdt;
	t->fadt.iapc_boot_arch = IAPC_NO_VGA | IAPC_NO_CMOS;
	t->fadt.flags = FLAG_HW_REDUCED;
	t->fadt.sleep_control = io_port(ACPI_SLEEP_CONTROL_PORT);
	t->fadt.sleep_status = io_port(ACPI_SLEEP_STATUS_PORT);
	finish(&t->fadt.h, "FACP", sizeof(t->fadt), 6);
}

static void fill_madt(struct tables *t, unsigned int vcpus)
{
	t->madt.lapic_address = LAPIC_GPA;
	t->madt.ioapic = (struct madt_ioapic){
		.type = 1, .length = sizeof(struct madt_ioapic), .id = IOAPIC_ID, .address = GMEM_IOAPIC_GPA
	};
	for (unsigned int i = 0; i < vcpus; i++)
		t->madt.lapic[i] = (struct madt_lapic){
			.length = sizeof(struct madt_lapic), .uid = (uint8_t)i, .apic_id = APIC_ID(i), .flags = 1
		};
	finish(&t->madt.h, "APIC", sizeof(t->madt) - (ARRAY_SIZE(t->madt.lapic) - vcpus) * sizeof(t->madt.lapic[0]), 5);
}

uint64_t acpi_build(struct gmem *mem, unsigned int vcpus)
{
	struct tables t = { 0 };
	uint64_t gpa = GMEM_ACPI_GPA;

	memcpy(t.dsdt.aml, dsdt_aml, sizeof(dsdt_aml));
	finish(&t.dsdt.h, "DSDT", sizeof(t.dsdt), 2);
	fill_fadt(&t, gpa);
	fill_madt(&t, MIN(vcpus, (unsigned int)ARRAY_SIZE(t.madt.lapic)));
	t.xsdt.entry[0] = gpa + offsetof(struct tables, fadt);
	t.xsdt.entry[1] = gpa + offsetof(struct tables, madt);
	finish(&t.xsdt.h, "XSDT", sizeof(t.xsdt), 1);
	t.rsdp = (struct rsdp){ .signature = { 'R', 'S', 'D', ' ', 'P', 'T', 'R', ' ' },
				.oem_id = { 'N', 'I', 'D', 'R', 'A', ' ' },
				.revision = 2,
				.length = sizeof(t.rsdp),
				.xsdt = gpa + offsetof(struct tables, xsdt) };
	t.rsdp.checksum = checksum(&t.rsdp, 20);
	t.rsdp.extended_checksum = checksum(&t.rsdp, sizeof(t.rsdp));
	gmem_write(mem, gpa, &t, sizeof(t));
	return gpa;
}
