"""What bench/measure is made of: the same work for nidra and for QEMU/KVM."""
