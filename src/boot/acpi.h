/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables of a PVH guest: RSDP, XSDT, FADT (hardware-reduced), MADT, DSDT. Without RSDP and
 * MADT Linux registers neither Xen's clock nor its timer, and brings up no CPU.
 */
#ifndef NIDRA_BOOT_ACPI_H
#define NIDRA_BOOT_ACPI_H

#include <stdint.h>

#include "kvm/gmem.h"

/* I/O ports of the sleep registers: a write of SLP_EN | SLP_TYP 5 to the first is power off. */
#define ACPI_SLEEP_CONTROL_PORT 0xb004
#define ACPI_SLEEP_STATUS_PORT	0xb005
#define ACPI_SLEEP_TYPE_S5	5

/* Fills the GMEM_ACPI pages for @vcpus possible CPUs. Returns the gpa of the RSDP. */
uint64_t acpi_build(struct gmem *mem, unsigned int vcpus);

#endif
