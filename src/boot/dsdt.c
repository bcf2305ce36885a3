/* SPDX-License-Identifier: Apache-2.0 */
/* dsdt.asl as iasl makes it, without the table's header. */
#include "boot/dsdt.h"

/* clang-format off */
const uint8_t dsdt_aml[DSDT_AML_LEN] =
	/* Name (_S5, Package (4) { 5, 0, 0, 0 }) */
	"\x08" "_S5_" "\x12\x07\x04\x0a\x05\x00\x00\x00"
	/* Scope (\_SB) */
	"\x10\x4a\x09" "_SB_"
	/* Device (VGEN) */
	"\x5b\x82\x4d\x04" "VGEN"
	/* Name (_HID, "NDRA0001") */
	"\x08" "_HID" "\x0d" "NDRA0001" "\x00"
	/* Name (_CID, "VM_Gen_Counter") */
	"\x08" "_CID" "\x0d" "VM_Gen_Counter" "\x00"
	/* Name (_DDN, "VM_Gen_Counter") */
	"\x08" "_DDN" "\x0d" "VM_Gen_Counter" "\x00"
	/* Name (ADDR, Package (2) { ACPI_GENERATION_GPA, 0 }) */
	"\x08" "ADDR" "\x12\x08\x02\x0c\xf0\x0f\x00\xfc\x00"
	/* Device (GED) */
	"\x5b\x82\x43\x04" "GED_"
	/* Name (_HID, "ACPI0013") */
	"\x08" "_HID" "\x0d" "ACPI0013" "\x00"
	/* Name (_UID, 0) */
	"\x08" "_UID" "\x00"
	/* Name (_CRS, ...): Interrupt { ACPI_GENERATION_GSI } */
	"\x08" "_CRS" "\x11\x0e\x0a\x0b\x89\x06\x00\x03\x01\x10\x00\x00\x00\x79\x00"
	/* Method (_EVT, 1, Serialized) */
	"\x14\x13" "_EVT" "\x09"
	/* If (Arg0 == ACPI_GENERATION_GSI) */
	"\xa0\x0c\x93\x68\x0a\x10"
	/* Notify (VGEN, 0x80) */
	"\x86" "VGEN" "\x0a\x80";
