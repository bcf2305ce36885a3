"""The root of a lab host that survives its own sleep: all of it in memory.

A 9p root does not come back from S3 (virtio-9p cannot be frozen), so what a
command needs is packed: some programs with their libraries, and the shares.
"""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

from . import cpio, sync

PROGRAMS = ["bash", "tar", "date", "rtcwake"]
# parts of Python's library that no test needs, and that weigh
PYTHON_SKIP = {"test", "idlelib", "lib2to3", "ensurepip", "dist-packages", "config-3"}


def write(file, programs, shares):
    """Write the archive that goes behind hostimage.base()."""
    with cpio.Archive(file) as archive:
        _applets(archive)
        archive.data("/etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n")
        archive.data("/etc/group", b"root:x:0:\n")
        for folder in ("/root", "/var/tmp", "/usr/bin", "/usr/sbin", "/lib/modules"):
            archive.folder(folder)
        files = sync.scan(shares)
        elf = [path for path in files if _is_program(path)]
        found = [_find(name) for name in [*PROGRAMS, *programs]]
        for path in found:
            archive.data(f"/bin/{path.name}", path.read_bytes(), 0o755)
            archive.link(f"/usr/bin/{path.name}", f"/bin/{path.name}")
            if path.name.startswith("python3"):
                _python_library(archive)
        for path in files:
            archive.copy(path, path)
        for path in sorted(_libraries([*found, *elf])):
            archive.data(path, Path(path).read_bytes(), 0o755)


def _applets(archive):
    names = subprocess.run(["/bin/busybox", "--list"], text=True, check=True,
                           stdout=subprocess.PIPE).stdout.split()
    for name in sorted(set(names) - {"busybox", "init", *PROGRAMS}):
        archive.link(f"/bin/{name}", "busybox")


def _find(name):
    path = shutil.which(name)
    if not path:
        raise LookupError(f"no program '{name}' on this machine")
    return Path(path)


def _is_program(path):
    if not os.access(path, os.X_OK) or os.path.islink(path):
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def _libraries(programs):
    """The shared libraries, and the loader, that these programs name."""
    needed = set()
    for program in programs:
        listing = subprocess.run(["ldd", program], text=True, check=False,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        needed.update(re.findall(r"(/\S+) \(0x", listing))
    return needed


def _python_library(archive):
    top = sysconfig.get_path("stdlib")
    for folder, folders, names in os.walk(top):
        folders[:] = [f for f in folders if not f.startswith(tuple(PYTHON_SKIP))]
        for name in names:
            archive.copy(f"{folder}/{name}", f"{folder}/{name}")
