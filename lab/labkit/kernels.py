"""Debian kernels: downloaded as packages and unpacked, never installed."""

import lzma
import re
import shutil
import struct
import subprocess
from pathlib import Path

from . import paths

# name -> package whose dependency is the real kernel package
NAMES = {
    "6.1": "linux-image-amd64",
    "6.1-cloud": "linux-image-cloud-amd64",
    "6.12": "linux-image-amd64",
    "6.12-cloud": "linux-image-cloud-amd64",
}


class Kernel:
    """One unpacked kernel package."""

    def __init__(self, name, folder):
        self.name = name
        self.folder = folder
        self.vmlinuz = next((folder / "boot").glob("vmlinuz-*"))
        self.version = self.vmlinuz.name.removeprefix("vmlinuz-")
        self.modules = folder / "lib/modules" / self.version
        self.vmlinux = folder / "boot/vmlinux"


def host(name):
    """The kernel of a lab host: generic, as the cloud ones have no 9p."""
    return get(name.removesuffix("-cloud"))


def get(name):
    """The kernel called `name`, downloaded on first use."""
    if name not in NAMES:
        raise ValueError(f"no kernel '{name}', choose one of {' '.join(NAMES)}")
    top = paths.cache() / "kernels"
    top.mkdir(exist_ok=True)
    folder = top / name
    if not folder.exists():
        with paths.locked(top / f".{name}.lock"):
            if not folder.exists():
                _fetch(name, folder)
    return Kernel(name, folder)


def _fetch(name, folder):
    package, version = _resolve(name)
    scratch = folder.with_name(f".{name}.new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", f"{package}={version}"], cwd=scratch,
                   check=True, stdout=subprocess.DEVNULL)
    deb = next(scratch.glob("*.deb"))
    subprocess.run(["dpkg-deb", "-x", deb, scratch], check=True)
    deb.unlink()
    kernel = Kernel(name, scratch)
    subprocess.run(["depmod", "-b", scratch, kernel.version], check=True)
    _uncompress(kernel)
    scratch.rename(folder)


def _resolve(name):
    """(package, version) of the newest kernel of this name that apt knows."""
    for attempt in range(2):
        found = _known(NAMES[name], name.removesuffix("-cloud"))
        if found:
            return found
        if attempt == 0:
            subprocess.run([paths.PROJECT / "scripts/install-packages", "--update"],
                           check=True, stdout=subprocess.DEVNULL)
    raise LookupError(f"apt knows no {NAMES[name]} of version {name}")


def _known(meta, series):
    shown = subprocess.run(["apt-cache", "show", meta], text=True, check=False,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    for stanza in shown.split("\n\n"):    # newest first
        version = re.search(r"^Version: (\S+)", stanza, re.M)
        package = re.search(r"^Depends: (linux-image-\S+)", stanza, re.M)
        if version and package and version[1].startswith(series + "."):
            return package[1], version[1]
    return None


def _uncompress(kernel):
    """Write the ELF file inside vmlinuz, which boots without unpacking itself."""
    image = kernel.vmlinuz.read_bytes()
    setup = (image[0x1f1] or 4) + 1
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = setup * 512 + offset
    payload = image[start:start + length - 4]     # its last word is the size
    unpackers = {
        b"\xfd7zXZ": lambda: lzma.decompress(payload),
        b"\x28\xb5\x2f\xfd": lambda: _pipe(["zstd", "-dc"], payload),
        b"\x02\x21\x4c\x18": lambda: _pipe(["lz4", "-dc"], payload),
    }
    for magic, unpack in unpackers.items():
        if payload.startswith(magic):
            kernel.vmlinux.write_bytes(unpack())
            return
    raise ValueError(f"{kernel.vmlinuz}: unknown compression")


def _pipe(command, data):
    return subprocess.run(command, input=data, check=True, stdout=subprocess.PIPE).stdout


def module_files(kernel, names):
    """The modules and all that they need, in loading order."""
    done = subprocess.run(
        ["modprobe", "-a", "-D", "-d", kernel.folder, "-S", kernel.version, *names],
        text=True, check=True, stdout=subprocess.PIPE).stdout
    order = []
    for line in done.splitlines():
        word = line.split()
        if word[0] == "insmod" and word[1] not in order:
            order.append(word[1])
    return [Path(p) for p in order]


def module_content(path):
    """The module's bytes, uncompressed."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


