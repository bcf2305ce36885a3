"""nidra's side."""

import contextlib
import json
import os
import re
import socket
import subprocess
import time

from .watch import MIB, Console, clock, cpu_ms, forget, now, on_disk_mib, own_memory_kib, size, wait_for

NAME = "bench"


class Nidra:
    """One machine, and the images that were made of it."""

    name = "nidra"

    def __init__(self, job):
        self.job = job
        self.console = Console(f"/var/log/nidra/{NAME}/console.log", f"/run/nidra/{NAME}/console.sock", "from=now\n")
        self.pid = 0

    def image(self, what):
        return f"{self.job.work}/nidra-{what}.img"

    def run(self, *args):
        done = subprocess.run(["nidra", *args], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"nidra {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def api(self, method, path):
        """A request without a process: what QMP is to QEMU."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"/run/nidra/{NAME}/api.sock")
            s.sendall(f"{method} /v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            reply = b""
            while piece := s.recv(65536):
                reply += piece
        head, body = reply.split(b"\r\n\r\n", 1)
        if not re.match(rb"HTTP/1.1 2", head):
            raise RuntimeError(f"{path}: {reply.decode(errors='replace')}")
        return json.loads(body) if body else None

    def machine(self):
        return self.api("GET", "machine")

    def start(self):
        job = self.job
        self.run("create", "--name", NAME, "--kernel", job.kernel, "--initrd", job.initrd, "--memory", str(job.mib),
                 "--cmdline", job.cmdline("hvc0"))
        wait_for(lambda: "ready" in self.console.since(0), every=0.05)
        self.pid = self.machine()["pid"]
        wait_for(lambda: self.machine()["sleeps"], every=0.05)
        return {"monitor_kib": own_memory_kib(self.pid)}

    def stop(self):
        with contextlib.suppress(RuntimeError):
            self.run("destroy", NAME)
        wait_for(lambda: not os.path.exists(f"/proc/{self.pid}"))
        for name in os.listdir(self.job.work):
            if name.startswith("nidra-"):
                os.unlink(f"{self.job.work}/{name}")

    # ---- what is measured ----

    def pause(self):
        """As QEMU's stop and cont, the guest is not told."""
        def both():
            self.api("POST", "pause")
            self.api("POST", "unpause")

        return {"pause_gap": self.console.gap_ms(both)[0]}

    def suspend_resume(self):
        def both():
            begin = now()
            self.run("suspend", NAME)
            self.run("resume", NAME)
            return now() - begin

        gap, whole = self.console.gap_ms(both)
        return {"suspend_gap": gap, "suspend_resume": whole}

    def one(self, what, *how, compress="none"):
        """One checkpoint: (gap, pause, ms, MiB, ms of CPU, MiB of memory in it)."""
        path = self.image(what)
        forget(path)

        def make():
            cpu = cpu_ms(self.pid)
            text = self.run("checkpoint", NAME, path, "--compress", compress, "--json", *how)
            return json.loads(text), cpu_ms(self.pid) - cpu

        gap, (job, cpu) = self.console.gap_ms(make)
        stats = job["stats"]
        return {"gap": gap, "pause": stats["pause_ns"] / 1e6, "ms": job["timeline"]["duration_ns"] / 1e6,
                "mib": on_disk_mib(path), "cpu": cpu, "memory_mib": stats["memory_bytes"] / MIB,
                "moment_mib": stats["moment_bytes"] / MIB}

    def told(self):
        """The guest takes part, as with Xen."""
        return prefixed("told_", self.one("told"))

    def snapshot(self, compress="none"):
        """The guest is not asked, as QEMU does not."""
        prefix = "snapshot_" if compress == "none" else "snapshot_zstd_"
        return prefixed(prefix, self.one("snapshot" if compress == "none" else "zstd", "--uncooperative", compress=compress))

    def child(self):
        self.one("base", "--uncooperative", "--incremental", "--full")
        time.sleep(self.job.interval)
        row = prefixed("child_", self.one("child", "--uncooperative", "--incremental"))
        forget(self.image("child"))
        forget(self.image("base"))
        return row

    def save(self, what="save", compress="none"):
        path = self.image(what)
        forget(path)
        begin = now()
        self.run("save", NAME, path, "--compress", compress)
        row = {"save": now() - begin, "save_mib": on_disk_mib(path)}
        wait_for(lambda: not os.path.exists(f"/proc/{self.pid}"))
        return row if compress == "none" else prefixed("zstd_", row)

    def restore(self, what="save", *how):
        """Clocks from the command's start on."""
        log = self.console.log
        forget(log)
        seen = {}
        begin, begin_clock = now(), clock()
        with subprocess.Popen(["nidra", "restore", self.image(what), "--json", *how], stdout=subprocess.PIPE) as child:
            def both():
                if "api" not in seen and child.poll() is not None:
                    seen["api"] = now() - begin
                if "output" not in seen and size(log) > 0:
                    seen["output"] = now() - begin
                return len(seen) == 2

            wait_for(both)
            job = json.load(child.stdout)
        self.console.ask("w", "work")
        seen["reply"] = now() - begin
        wait_for(lambda: not self.machine().get("image_bytes"), every=0.02)
        seen["resident"] = now() - begin
        start = next(p for p in job["timeline"]["phases"] if p["name"] == "start")
        seen["instruction"] = (job["started_ns"] + start["end_ns"]) / 1e6 - begin_clock
        self.pid = self.machine()["pid"]
        return prefixed("restore_", seen)

    def end(self):
        """The machine goes, its images stay."""
        self.run("destroy", NAME)
        wait_for(lambda: not os.path.exists(f"/proc/{self.pid}"))

    def wake(self):
        """Saved, and restored in each way; leaves a machine."""
        row = self.save()
        row.update(self.restore())
        self.end()
        row.update(prefixed("again_", self.restore()))  # it knows now what is touched first
        self.end()
        row.update(prefixed("eager_", self.restore("save", "--eager")))
        return row

    def round(self):
        """All of it once, with a machine that was just started."""
        row = self.console.noise()
        row.update(self.pause())
        row.update(self.suspend_resume())
        row.update(self.told())
        row.update(self.snapshot())
        row.update(self.child())
        if self.job.zstd:
            row.update(self.snapshot("zstd"))
            forget(self.image("zstd"))
        row.update(self.wake())
        self.end()
        forget(self.image("save"))
        row.update(prefixed("untold_", self.restore("snapshot", "--transparent")))
        if self.job.zstd:
            row.update(self.save("zstd", "zstd"))
            row.update(prefixed("zstd_", self.restore("zstd")))
        return row

    def checkpoints(self):
        """At one rate of rewriting."""
        row = self.snapshot()
        forget(self.image("snapshot"))
        row.update(self.child())
        return row


def prefixed(prefix, row):
    return {prefix + key: value for key, value in row.items()}
