"""Xen itself, for a lab host that is its dom0: Debian's packages, never installed."""

import gzip
import shutil
import subprocess

from . import paths

# The libraries that these need come with libxen-dev, in the same version.
PACKAGES = ["xen-hypervisor-4.17-amd64", "xen-utils-4.17", "xen-utils-common", "xenstore-utils"]
# Nothing to protect in there, and emulation of each of these costs.
CMDLINE = "console=com1 com1=115200 loglvl=warning guest_loglvl=all noreboot spec-ctrl=no,eager-fpu xpti=no"

# QEMU's emulated SVM tells of every read of a control register as one of CR0, if
# that is intercepted.  Xen's emulator then has a stale CR2 for a guest with
# nested paging, and Linux stops at its first page fault.  So Xen shall not
# intercept reads of CR0: movl $~0x01040104,(%rbx) in construct_vmcb().
CR_INTERCEPTS = bytes.fromhex("c703fbfefbfe"), bytes.fromhex("c703fafefbfe")


class Xen:
    """The unpacked packages."""

    def __init__(self, folder):
        self.image = folder / "xen"
        self.tools = folder / "root"    # what the packages have for /


def get():
    """Xen, downloaded on first use."""
    folder = paths.cache() / "xen"
    if not folder.exists():
        with paths.locked(paths.cache() / ".xen.lock"):
            if not folder.exists():
                _fetch(folder)
    return Xen(folder)


def _fetch(folder):
    scratch = folder.with_name(".xen.new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *PACKAGES],
                   cwd=scratch, check=True, stdout=subprocess.DEVNULL)
    new = Xen(scratch)
    for deb in scratch.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", deb, new.tools], check=True)
        deb.unlink()
    packed = next((new.tools / "boot").glob("xen-*.gz"))
    code = gzip.decompress(packed.read_bytes())
    if code.count(CR_INTERCEPTS[0]) != 1:
        raise ValueError(f"{packed.name}: where does it intercept control registers?")
    new.image.write_bytes(code.replace(*CR_INTERCEPTS))
    for useless in ("boot", "usr/share"):
        shutil.rmtree(new.tools / useless)
    scratch.rename(folder)
