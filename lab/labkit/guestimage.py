"""The initramfs of a Debian guest under nidra."""

import subprocess

from . import cpio, kernels, paths
from .hostimage import tool

# Frontends for what nidra offers; a kernel that has one built in needs no module
MODULES = [
    "xenfs", "xen-evtchn", "xen-blkfront", "xen-netfront", "9pnet_xen", "9p", "ext4", "xen_wdt", "nfsv3",
    "virtio_pci", "virtio_blk", "virtio_net",       # under QEMU, to compare
]


def write(file, kernel_names, extra):
    """Write the archive; extra is a list of (source, destination)."""
    with cpio.Archive(file) as archive:
        archive.data("/init", (paths.TOOLS / "guest-init").read_bytes(), 0o755)
        archive.data("/etc/session", (paths.TOOLS / "guest-session").read_bytes(), 0o755)
        archive.data("/etc/passwd", b"root::0:0:root:/root:/bin/sh\n")
        archive.data("/etc/group", b"root:x:0:\n")
        for name in ("memcheck", "diskcheck", "tick"):
            archive.copy(tool(name), f"/bin/{name}")
        archive.data("/bin/sharecheck", (paths.TOOLS / "sharecheck").read_bytes(), 0o755)
        archive.data("/bin/load", (paths.TOOLS / "guest-load").read_bytes(), 0o755)
        _busybox(archive)
        for folder in ("proc", "sys", "dev", "root", "mnt"):
            archive.folder(folder)
        archive.node("/dev/console", 5, 1)
        for name in kernel_names:
            _modules(archive, kernels.get(name))
        for source, dest in extra:
            archive.copy(source, dest)


def _busybox(archive):
    archive.copy("/bin/busybox", "/bin/busybox")
    applets = subprocess.run(["/bin/busybox", "--list"], text=True, check=True,
                             stdout=subprocess.PIPE).stdout.split()
    # the kernel calls these two to power off and reboot: no polite goodbyes
    for name in ("poweroff", "reboot"):
        archive.data(f"/sbin/{name}", f"#!/bin/sh\nexec busybox {name} -f\n".encode(), 0o755)
    for name in sorted(set(applets) - {"busybox", "poweroff", "reboot"}):
        archive.link(f"/bin/{name}", "busybox")


def _modules(archive, kernel):
    """Each module with all that it needs; NAME.order is for `load NAME`."""
    top = f"/modules/{kernel.version}"
    added = set()
    for name in (name for name in MODULES if _has_module(kernel, name)):
        files = {path: path.name.removesuffix(".xz")
                 for path in kernels.module_files(kernel, [name])}
        archive.data(f"{top}/{name}.order", "".join(f"{n}\n" for n in files.values()).encode())
        for path in files.keys() - added:
            archive.data(f"{top}/{files[path]}", kernels.module_content(path))
        added |= files.keys()


def _has_module(kernel, name):
    return any(kernel.modules.rglob(f"{name}.ko*"))
