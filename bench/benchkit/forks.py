"""Forks of an idle machine: time and memory of each."""

import json
import os
import subprocess
import time

from .nidra import NAME, Nidra
from .watch import now, own_memory_kib, private_kib, wait_for

IDLE_S = 5  # so long after the fork its memory is looked at


class Forks(Nidra):
    """A machine at its shell, and its clones."""

    def start(self):
        job = self.job
        self.run("create", "--name", NAME, "--kernel", job.kernel, "--initrd", job.initrd, "--memory", str(job.mib),
                 "--cmdline", "console=hvc0 quiet")
        wait_for(lambda: "nidra-guest: up" in self.console.since(0), every=0.05)
        self.pid = self.machine()["pid"]
        wait_for(lambda: self.machine()["sleeps"], every=0.05)
        return {"alone_kib": own_memory_kib(self.pid)}

    def clones(self, n):
        """n at once; then they go again."""
        available = free_kib()
        begin = now()
        names = json.loads(self.run("fork", NAME, "-n", str(n), "--json"))
        took = now() - begin
        time.sleep(IDLE_S)
        pids = [json.loads(self.run("info", name, "--json"))["pid"] for name in names[:10]]
        row = {"n": len(names), "ms_each": took / len(names), "private_kib": sum(map(private_kib, pids)) / len(pids),
               "host_kib": (available - free_kib()) / len(names)}
        subprocess.run(["sh", "-c", 'for n; do nidra destroy "$n" & done; wait', "sh", *names], check=True)
        wait_for(lambda: not any(os.path.exists(f"/run/nidra/{name}/api.sock") for name in names), 60, 0.1)
        return row


def free_kib():
    with open("/proc/meminfo", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("MemAvailable"))
