"""Clocks, processes and consoles, seen from outside."""

import contextlib
import os
import re
import socket
import time

MIB = 1 << 20


def now():
    """Milliseconds of the monotonic clock."""
    return time.monotonic() * 1e3


def clock():
    """Milliseconds of the clock that events are stamped with."""
    return time.time() * 1e3


def wait_for(what, seconds=180, every=0.003):
    """In an emulated host looking is not for free."""
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError("nothing came of it")
        time.sleep(every)


def size(path):
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def on_disk_mib(path):
    """What a file takes: a hole takes nothing."""
    return os.stat(path).st_blocks * 512 / MIB


def forget(path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def own_memory_kib(pid):
    """Resident memory of a process without what it shares: memory of nidra's guests is a memfd."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        values = dict(re.findall(r"^(Rss\w+):\s+(\d+) kB", f.read(), re.M))
    return int(values["RssAnon"]) + int(values["RssFile"])


def private_kib(pid):
    """What would be free if this process were gone."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
        values = dict(re.findall(r"^(\w+):\s+(\d+) kB", f.read(), re.M))
    return int(values["Private_Clean"]) + int(values["Private_Dirty"])


def cpu_ms(pid):
    """CPU time of a process, less what its vCPU threads used."""
    total = _stat_ms(f"/proc/{pid}/stat")
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f"/proc/{pid}/task/{task}/comm", encoding="utf-8") as f:
                name = f.read()
            if re.match(r"vcpu|CPU ", name):
                total -= _stat_ms(f"/proc/{pid}/task/{task}/stat")
    return total


def _stat_ms(path):
    with open(path, encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1e3 / os.sysconf("SC_CLK_TCK")


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    wait_for(lambda: s.connect_ex(path) == 0)
    return s


class Console:
    """The guest's console: a log that grows, and a socket to type on (see bench/beat.c)."""

    def __init__(self, log, sock, hello=""):
        self.log, self.sock, self.hello = log, sock, hello
        self.asked = 0

    def since(self, offset):
        try:
            with open(self.log, "rb") as f:
                f.seek(offset)
                return f.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def ask(self, letter, answer, number=0, again_s=3):
        """Type a question, and again if nothing comes of it; the number in the answer."""
        self.asked += 1
        pattern = re.compile(rf"^{answer} (\d+) {self.asked}\r?$", re.M)
        # a UART tells of 8 bytes at once, of fewer when its timer runs out
        line = f"{letter}{number} {self.asked}".ljust(14) + "\n"
        offset = size(self.log)
        for _ in range(10):
            # connected no longer than this: QEMU would wait for us to read what the guest says
            with connect(self.sock) as s, contextlib.suppress(TimeoutError):
                s.sendall((self.hello + line).encode())
                return int(wait_for(lambda: pattern.search(self.since(offset)), again_s)[1])
        raise TimeoutError(f"the guest does not answer '{letter}'")

    def gap_ms(self, operation):
        """What the guest felt while something was done to it; that result, too."""
        self.ask("z", "zero")
        result = operation()
        time.sleep(0.1)     # what is behind it is felt, too
        return self.ask("g", "gap") / 1e3, result

    def noise(self):
        """What it feels while nothing is done to it."""
        return {"noise_gap": self.gap_ms(lambda: time.sleep(3))[0]}
