"""The lab: a Linux host with working KVM on any machine (docs/lab.md)."""
