"""One lab host: its QEMU process and its folder of sockets and logs."""

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import hostimage, kernels, paths, sleepimage, xen

PORTS = 8       # commands at once in one lab
# What TCG emulates and a nested host can do without: SMAP, protection keys and
# 5-level paging are checked at every access; with fast string instructions
# announced, Linux copies with those, which TCG does a byte at a time.
CPU = "max,-smap,-pku,-la57,-erms,-fsrm,-fsrs,-fzrm"
CMDLINE = "console=ttyS0 loglevel=5 panic=-1 oops=panic mitigations=off nowatchdog tsc=reliable no_timer_check"
# In QEMU any CPU that loads x87 state rewrites a word of CPU 0's, hflags2, without a lock; done while
# CPU 0 enters or leaves a guest, it brings "nested paging" back, the host's next access is taken for
# the guest's, and the host's kernel dies. So CPU 0 is one more, and runs nothing of ours.
NO_VM_ON_CPU0 = "isolcpus=0"
CRASH = re.compile(r"Kernel panic|BUG: |Oops|general protection fault|sysrq: Trigger a crash")


class LabError(Exception):
    """Something that the user is told in one sentence."""


class LabDied(LabError):
    """The lab host is gone while it was needed."""


class Host:
    """A lab host, running or not; everything about it lies in its folder."""

    def __init__(self, name):
        self.name = name
        self.folder = paths.labs() / name
        self.console = self.folder / "console.log"
        self.process = None     # QEMU, if it is our child

    # ---- settings, kept for lab/exec and the others ----

    def remember(self, **settings):
        (self.folder / "settings.json").write_text(json.dumps(settings))

    def settings(self):
        try:
            return json.loads((self.folder / "settings.json").read_text())
        except FileNotFoundError:
            raise LabError(f"no lab '{self.name}' is up") from None

    # ---- life ----

    def pid(self):
        """The process of QEMU, or None."""
        try:
            pid = int((self.folder / "qemu.pid").read_text())
            os.kill(pid, 0)
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self.folder) in command else None

    def start(self, options, dies_with_us):
        """Start QEMU."""
        kernel = kernels.host(options.kernel)
        initrd = self.folder / "initrd"
        self._write_initrd(initrd, kernel, options)
        with open(self.folder / "qemu.log", "wb") as log:
            self.process = subprocess.Popen(
                self._command(kernel, initrd, options), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
                preexec_fn=_die_with_parent if dies_with_us else None)
        (self.folder / "qemu.pid").write_text(str(self.process.pid))
        while self.process.poll() is None and not self.pid():
            time.sleep(0.001)   # its command line shows up a moment late

    def _write_initrd(self, initrd, kernel, options):
        with open(initrd, "wb") as file:
            file.write(hostimage.base(kernel))
            if options.sleepable:
                sleepimage.write(file, options.program, options.share)
            file.write(hostimage.config(
                modules_from=kernel.modules, out=options.out, ports=PORTS,
                shares=" ".join(map(str, options.share)),
                pinned=" ".join(_programs(paths.build())),
                xen=xen.get().tools if options.xen else "",
                sleepable="yes" if options.sleepable else ""))

    def _command(self, kernel, initrd, options):
        # vmlinux starts faster, but QEMU writes it to memory anew at each reset,
        # and waking from S3 is one: the kernel that slept would be overwritten
        image = kernel.vmlinuz if options.sleepable else kernel.vmlinux
        # with a thread per CPU, one wake in six leaves a second CPU in the firmware
        threads = "single" if options.sleepable and options.cpus > 1 else "multi"
        cpus, cmdline = options.cpus, CMDLINE
        if cpus > 1 and threads == "multi":
            cpus, cmdline = cpus + 1, f"{CMDLINE} {NO_VM_ON_CPU0}"
        command = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
            "-M", "pc,hpet=off", "-accel", f"tcg,thread={threads}", "-cpu", CPU,
            "-smp", str(cpus), "-m", str(options.memory), "-no-reboot",
            *_boot(image, initrd, cmdline, options),
            "-serial", f"file:{self.console}",
            "-qmp", f"unix:{self.folder}/qmp,server=on,wait=off",
            "-device", f"virtio-serial-pci,max_ports={PORTS + 1}",
        ]
        for port in range(1, PORTS + 1):
            command += ["-chardev", f"socket,id=p{port},path={self.folder}/p{port},server=on,wait=off",
                        "-device", f"virtserialport,chardev=p{port},nr={port}"]
        if not options.sleepable:
            command += [
                "-virtfs", "local,path=/,mount_tag=root,readonly=on,security_model=none,"
                "multidevs=remap",
                "-virtfs", f"local,path={options.out},mount_tag=out,security_model=none"]
        return command

    def stop(self):
        """End QEMU and forget the lab."""
        pid = self.pid()
        if pid:
            os.kill(pid, signal.SIGKILL)
            if self.process:
                self.process.wait()
            while self.pid():
                time.sleep(0.01)
        shutil.rmtree(self.folder, ignore_errors=True)

    def last_words(self, lines=25):
        """The end of the console; from the first sign of a crash, if there is one."""
        text = ""
        for log in (self.folder / "qemu.log", self.console):
            with contextlib.suppress(OSError):
                text += log.read_text(errors="replace")
        said = text.replace("\r", "").splitlines()
        crash = next((i for i, line in enumerate(said) if CRASH.search(line)), len(said))
        start = min(crash, max(0, len(said) - lines))
        return "\n".join([*said[start:start + 3 * lines], f"({self._fate()})"])

    def _fate(self):
        if not self.process:
            return "QEMU still runs" if self.pid() else "QEMU ended"
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return "QEMU still runs"
        return f"QEMU was killed by signal {-code}" if code < 0 else f"QEMU ended with {code}"

    # ---- QEMU's own control channel ----

    def qmp(self, command):
        """Run one command; its answer."""
        with paths.locked(self.folder / "qmp.lock"), socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.folder / "qmp"))
            stream = sock.makefile("rw")
            for name in ("qmp_capabilities", command):
                stream.write(json.dumps({"execute": name}))
                stream.flush()
                answer = {}
                while "return" not in answer:   # the greeting and events come too
                    answer = json.loads(stream.readline())
                    if "error" in answer:
                        raise LabError(f"QEMU refused {name}: {answer['error']['desc']}")
            return answer["return"]

    def status(self):
        """What QEMU says of the lab: running, suspended, ...; or down."""
        return self.qmp("query-status")["status"] if self.pid() else "down"


def _boot(kernel, initrd, cmdline, options):
    """What QEMU loads: the kernel; or Xen, by multiboot, with the kernel as its dom0."""
    if not options.xen:
        return ["-kernel", kernel, "-initrd", initrd, "-append", cmdline]
    dom0 = CMDLINE.replace("console=ttyS0", "console=hvc0")
    return ["-kernel", xen.get().image, "-initrd", f"{kernel} {dom0},{initrd}",
            "-append", f"{xen.CMDLINE} dom0_mem={options.memory // 2}M"]


def _programs(build):
    """The programs in the top of the build folder."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(build):
            if entry.is_file() and os.access(entry.path, os.X_OK):
                yield entry.path


def _die_with_parent():
    """Even a killed launcher leaves no QEMU behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG
