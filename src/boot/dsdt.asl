/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hardware the guest has beyond CPUs: the generation of this machine (VMGenID), which changes when a saved or
 * forked machine wakes, and the Generic Event Device, whose interrupt says so: there is no other way to notify on
 * hardware-reduced ACPI. The numbers are ACPI_GENERATION_GPA and ACPI_GENERATION_GSI (acpi.h).
 *
 * dsdt.c has this as iasl makes it (package acpica-tools): iasl -tc -p OUT src/boot/dsdt.asl
 */
DefinitionBlock ("", "DSDT", 2, "NIDRA ", "NIDRAPVH", 1)
{
	Name (_S5, Package (4) { 5, 0, 0, 0 })

	Scope (\_SB)
	{
		Device (VGEN)
		{
			Name (_HID, "NDRA0001")
			Name (_CID, "VM_Gen_Counter")
			Name (_DDN, "VM_Gen_Counter")
			Name (ADDR, Package (2) { 0xfc000ff0, 0 })
		}

		Device (GED)
		{
			Name (_HID, "ACPI0013")
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 16 }
			})
			Method (_EVT, 1, Serialized)
			{
				If (Arg0 == 16)
				{
					Notify (VGEN, 0x80)
				}
			}
		}
	}
}
