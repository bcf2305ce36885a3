"""QEMU/KVM's side: 7.2 as Debian 12 has it, 10 from backports."""

import array
import contextlib
import json
import os
import re
import socket
import subprocess
import time

from .nidra import prefixed
from .watch import Console, clock, connect, cpu_ms, forget, now, on_disk_mib, own_memory_kib, size, wait_for


class Monitor:
    """QMP: commands, and the events that came meanwhile with their times."""

    def __init__(self, path):
        self.s = connect(path)
        self.f = self.s.makefile("rb")
        self.events = {}
        self.f.readline()
        self("qmp_capabilities")

    def line(self):
        text = self.f.readline()
        if not text:
            raise RuntimeError("QEMU is gone")
        told = json.loads(text)
        if "event" in told:
            stamp = told["timestamp"]
            name = told["event"] + ("-" + told["data"]["status"] if told["event"] == "MIGRATION" else "")
            self.events[name] = stamp["seconds"] * 1e3 + stamp["microseconds"] / 1e3
        return told

    def __call__(self, command, fd=None, **args):
        text = json.dumps({"execute": command, "arguments": {k.replace("_", "-"): v for k, v in args.items()}})
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd is not None else []
        self.s.sendmsg([text.encode()], ancillary)
        while True:
            reply = self.line()
            if "return" in reply:
                return reply["return"]
            if "error" in reply:
                raise RuntimeError(f"{command}: {reply['error']['desc']}")

    def wait(self, *names):
        while not any(n in self.events for n in names):
            self.line()
        return next(n for n in names if n in self.events)


class Qemu:
    """One machine, and the files that it was migrated to."""

    def __init__(self, job, name, folder):
        self.job, self.name, self.folder = job, name, folder
        self.log, self.tty, self.control = (f"{job.work}/{name}.{what}" for what in ("log", "tty", "qmp"))
        self.console = Console(self.log, self.tty)
        self.child = self.qmp = None
        self.old = bool(folder)     # 7.2 knows neither file: nor mapped-ram

    def image(self, what):
        return f"{self.job.work}/{self.name}-{what}.img"

    def command(self, *more):
        program = f"{self.folder}/usr/bin/qemu-system-x86_64" if self.folder else "qemu-system-x86_64"
        where = ["-L", f"{self.folder}/usr/share/qemu", "-L", f"{self.folder}/usr/share/seabios",
                 "-L", "/usr/share/qemu"] if self.folder else []
        job = self.job
        return [program, *where, "-name", "bench,debug-threads=on", "-accel", "kvm", "-cpu", "host", "-M", "pc",
                "-m", str(job.mib), "-nodefaults", "-no-user-config", "-display", "none",
                "-chardev", f"socket,id=c,path={self.tty},server=on,wait=off,logfile={self.log}", "-serial", "chardev:c",
                "-qmp", f"unix:{self.control},server=on,wait=off", "-kernel", job.kernel, "-initrd", job.initrd,
                "-append", job.cmdline("ttyS0"), *more]

    def spawn(self, *more):
        for path in (self.log, self.tty, self.control):
            forget(path)
        with open(f"{self.job.work}/{self.name}.err", "ab") as err:
            self.child = subprocess.Popen(self.command(*more), stderr=err)
        wait_for(lambda: os.path.exists(self.control))
        self.qmp = Monitor(self.control)
        self.qmp("migrate-set-parameters", max_bandwidth=1 << 50)
        self.capability("events", True)

    def capability(self, name, on):
        self.qmp("migrate-set-capabilities", capabilities=[{"capability": name, "state": on}])

    def start(self):
        self.spawn()
        wait_for(lambda: "ready" in self.console.since(0), every=0.05)
        return {"monitor_kib": own_memory_kib(self.child.pid) - self.guest_kib()}

    def guest_kib(self):
        """Guest RAM is anonymous memory of QEMU's: the largest mapping."""
        best, current = 0, 0
        with open(f"/proc/{self.child.pid}/smaps", encoding="utf-8") as f:
            for line in f:
                if m := re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                    current = 0
                m = re.match(r"(Size|Rss):\s+(\d+) kB", line)
                if m and m[1] == "Size":
                    current = int(m[2])
                if m and m[1] == "Rss" and current >= self.job.mib * 1024:
                    best = max(best, int(m[2]))
        return best

    def end(self):
        with contextlib.suppress(RuntimeError, OSError):
            self.qmp("quit")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(30)
        self.child.kill()
        self.child.wait()

    def stop(self):
        if self.child:
            self.end()
        for name in os.listdir(self.job.work):
            if name.startswith(f"{self.name}-"):
                os.unlink(f"{self.job.work}/{name}")

    # ---- migration to a file and back ----

    def migrate(self, path):
        """The migration as it is set up now, to a file; waits for its end."""
        self.begin(path)
        if self.qmp.wait("MIGRATION-completed", "MIGRATION-failed") == "MIGRATION-failed":
            raise RuntimeError(f"{self.name}: migrate failed: {self.qmp('query-migrate').get('error-desc')}")

    def begin(self, path):
        forget(path)
        for event in ("MIGRATION-completed", "MIGRATION-failed", "MIGRATION-cancelled", "STOP", "RESUME"):
            self.qmp.events.pop(event, None)
        if self.old:
            fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            self.qmp("getfd", fd=fd, fdname="out")
            os.close(fd)
            self.qmp("migrate", uri="fd:out")
        else:
            self.qmp("migrate", uri=f"file:{path}")

    def cut_short(self, path, seconds):
        """Only the pause of it, and what follows that for some seconds."""
        self.begin(path)
        end = None
        while "MIGRATION-completed" not in self.qmp.events and (end is None or time.monotonic() < end):
            if self.qmp("query-migrate")["status"] == "failed":
                raise RuntimeError(f"{self.name}: migrate failed")
            if "RESUME" in self.qmp.events:
                end = end or time.monotonic() + seconds
            time.sleep(0.1)
        self.qmp("migrate_cancel")
        self.qmp.wait("MIGRATION-cancelled", "MIGRATION-completed")
        time.sleep(1)   # its write protection is taken back behind that, if the capability is still there

    def mapped(self):
        self.capability("mapped-ram", True)
        self.capability("multifd", True)
        self.qmp("migrate-set-parameters", multifd_channels=2)

    # ---- what is measured ----

    def pause(self):
        def both():
            self.qmp("stop")
            self.qmp("cont")

        return {"pause_gap": self.console.gap_ms(both)[0]}

    def snapshot(self):
        """background-snapshot: each page of a large guest is a fault or a call, so that is cut short."""
        path = self.image("snapshot")
        whole = self.old or self.job.mib <= self.job.whole_up_to    # 7.2 leaves a guest protected for ever that it gave up on

        def make():
            cpu, begin = cpu_ms(self.child.pid), now()
            if whole:
                self.migrate(path)
            else:
                self.cut_short(path, 5)
            return now() - begin, cpu_ms(self.child.pid) - cpu

        self.capability("background-snapshot", True)
        gap, (took, cpu) = self.console.gap_ms(make)
        self.capability("background-snapshot", False)
        self.qmp.wait("RESUME")
        row = {"gap": gap, "pause": self.qmp.events["RESUME"] - self.qmp.events["STOP"]}
        if whole:
            row.update({"ms": took, "mib": on_disk_mib(path), "cpu": cpu})
        forget(path)
        return prefixed("snapshot_", row)

    def live(self):
        """migrate to a file while the guest runs, then cont: the other way to a checkpoint."""
        path = self.image("live")

        def make():
            begin = now()
            self.migrate(path)
            self.qmp("cont")
            return now() - begin

        gap, whole = self.console.gap_ms(make)
        forget(path)
        return {"live_gap": gap, "live_ms": whole}

    def save(self, mapped=False):
        path = self.image("mapped" if mapped else "save")
        if mapped:
            self.mapped()
        begin = now()
        self.qmp("stop")
        self.migrate(path)
        self.qmp("quit")
        self.child.wait()
        row = {"save": now() - begin, "save_mib": on_disk_mib(path)}
        return prefixed("mapped_", row) if mapped else row

    def restore(self, mapped=False):
        path = self.image("mapped" if mapped else "save")
        begin, begin_clock = now(), clock()
        seen = {}
        self.spawn("-incoming", "defer")
        if mapped:
            self.mapped()
        if self.old:
            fd = os.open(path, os.O_RDONLY)
            self.qmp("getfd", fd=fd, fdname="in")
            os.close(fd)
            self.qmp("migrate-incoming", uri="fd:in")
        else:
            self.qmp("migrate-incoming", uri=f"file:{path}")
        if self.qmp.wait("MIGRATION-completed", "MIGRATION-failed") == "MIGRATION-failed":
            raise RuntimeError(f"{self.name}: incoming failed")
        seen["resident"] = now() - begin
        self.qmp("cont")
        seen["api"] = now() - begin
        wait_for(lambda: size(self.log) > 0)
        seen["output"] = now() - begin
        self.console.ask("w", "work")
        seen["reply"] = now() - begin
        self.qmp.wait("RESUME")
        seen["instruction"] = self.qmp.events["RESUME"] - begin_clock
        return prefixed("mapped_restore_" if mapped else "restore_", seen)

    def wake(self):
        row = self.save()
        row.update(self.restore())
        forget(self.image("save"))
        if not self.old:
            row.update(self.save(mapped=True))
            row.update(self.restore(mapped=True))
        return row

    def round(self):
        row = self.console.noise()
        row.update(self.pause())
        row.update(self.snapshot())
        row.update(self.live())
        row.update(self.wake())
        return row

    def checkpoints(self):
        return self.snapshot()
