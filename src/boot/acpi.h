/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables of a PVH guest: RSDP, XSDT, FADT (hardware-reduced), MADT, DSDT. Without RSDP and
 * MADT Linux registers neither Xen's clock nor its timer, and brings up no CPU. The DSDT has the
 * generation of the machine (VMGenID): bytes that change whenever several machines may have come of
 * one, and an interrupt that says so.
 */
#ifndef NIDRA_BOOT_ACPI_H
#define NIDRA_BOOT_ACPI_H

#include <stdint.h>

#include "kvm/gmem.h"

/* I/O ports of the sleep registers: a write of SLP_EN | SLP_TYP 5 to the first is power off. */
#define ACPI_SLEEP_CONTROL_PORT 0xb004
#define ACPI_SLEEP_STATUS_PORT	0xb005
#define ACPI_SLEEP_TYPE_S5	5

/* The generation, and the pin of the I/O APIC whose edge tells of a new one. Both are in dsdt.asl, too. */
#define ACPI_GENERATION_GPA   (GMEM_ACPI_GPA + 0xff0)
#define ACPI_GENERATION_BYTES 16
#define ACPI_GENERATION_GSI   16

/* Fills the GMEM_ACPI pages for @vcpus possible CPUs; the generation stays as it is. Returns the gpa of the RSDP. */
uint64_t acpi_build(struct gmem *mem, unsigned int vcpus);

#endif
