"""The initramfs of a lab host."""

import hashlib
import io
import subprocess

from . import cpio, kernels, paths

MODULES = {     # in the order in which host-init loads these groups
    "root": ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"],
    "kvm": ["kvm_amd", "tun"],
    "xen": ["xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs"],
}
APPLETS = """cat chmod chroot cp echo hostname insmod ip ln mkdir mount reboot sh sleep switch_root
             umount uname""".split()


def tool(name):
    """A static program of lab/guest-tools, compiled when it is new."""
    source = paths.TOOLS / f"{name}.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    binary = paths.cache() / f"{name}-{digest}"
    if not binary.exists():
        with paths.locked(paths.cache() / f".{name}.lock"):
            scratch = binary.with_name(f".{binary.name}")
            subprocess.run(["gcc", "-O2", "-static", "-s", "-o", scratch, source, "-lpthread"],
                           check=True)
            scratch.rename(binary)
    return binary


def base(kernel):
    """The part that all lab hosts with this kernel share, as bytes."""
    agent = tool("agent")
    init = paths.TOOLS / "host-init"
    key = hashlib.sha256(repr((agent.name, init.read_bytes(), MODULES, APPLETS,
                               kernel.version)).encode()).hexdigest()[:16]
    cached = paths.cache() / f"host-{kernel.name}-{key}.cpio"
    if not cached.exists():
        with paths.locked(paths.cache() / ".host.lock"):
            scratch = cached.with_name(f".{cached.name}")
            with open(scratch, "wb") as file, cpio.Archive(file) as archive:
                _fill(archive, kernel, agent, init)
            scratch.rename(cached)
    return cached.read_bytes()


def _fill(archive, kernel, agent, init):
    archive.data("/init", init.read_bytes(), 0o755)
    archive.copy(agent, "/agent")
    archive.copy("/bin/busybox", "/bin/busybox")
    for applet in APPLETS:
        archive.link(f"/bin/{applet}", "busybox")
    for folder in ("/proc", "/sys", "/dev", "/sbin"):
        archive.folder(folder)
    archive.node("/dev/console", 5, 1)
    known = set()
    for group, wanted in MODULES.items():
        files = [path for path in kernels.module_files(kernel, wanted) if path not in known]
        known.update(files)
        names = [path.name.removesuffix(".xz") for path in files]
        for path, name in zip(files, names):
            archive.data(f"/modules/{name}", kernels.module_content(path))
        archive.data(f"/modules/{group}.order", "".join(f"{n}\n" for n in names).encode())


def config(**settings):
    """What is special about one lab, as bytes of an archive."""
    lines = (f"{key}='{value}'\n" for key, value in settings.items())
    file = io.BytesIO()
    with cpio.Archive(file) as archive:
        archive.data("/lab.conf", "".join(lines).encode())
    return file.getvalue()
