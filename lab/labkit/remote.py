"""Run one command in a lab; the other side is guest-tools/agent.c."""

import contextlib
import fcntl
import os
import selectors
import signal
import socket
import struct
import sys
import time

from .host import PORTS, LabDied, LabError

FRAME_MAX = 65536
HEADER = struct.Struct("<cI")


class TimedOut(LabError):
    """The command or the lab took too long."""


class Connection:
    """A port of a lab that is ours alone, with the agent listening."""

    def __init__(self, host, deadline):
        self.host = host
        self.deadline = deadline
        self.received = bytearray()
        while True:
            self.lock, self.sock = self._connect()
            try:
                self._greet()
                return
            except BaseException as failure:
                self.close()
                # QEMU now and then drops a connection that follows another at once
                if not isinstance(failure, LabDied) or not host.pid():
                    raise

    def close(self):
        self.sock.close()
        self.lock.close()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()

    def _connect(self):
        """The first free port, waiting for QEMU to offer it."""
        while True:
            for port in range(1, PORTS + 1):
                lock = open(self.host.folder / f"p{port}.lock", "a")
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    lock.close()
                    continue
                sock = socket.socket(socket.AF_UNIX)
                try:
                    sock.connect(str(self.host.folder / f"p{port}"))
                    return lock, sock
                except OSError:
                    lock.close()
                    sock.close()
                    break
            self._check()
            time.sleep(0.02)

    def _greet(self):
        """Wait for the agent; drop what a predecessor left in the port."""
        nonce = os.urandom(16)
        self.received.clear()
        self._send_raw(bytes(FRAME_MAX + HEADER.size))
        self.send(b"H", nonce)
        while nonce not in self.received:
            if not self.fill(0.25):
                self._check()
        del self.received[:self.received.index(nonce) + len(nonce)]

    def _check(self):
        if time.monotonic() > self.deadline:
            raise TimedOut("the lab does not answer")
        if not self.host.pid():
            raise LabDied("the lab host ended")

    def send(self, kind, data=b""):
        self._send_raw(HEADER.pack(kind, len(data)) + data)

    def _send_raw(self, data):
        # The agent of a busy host takes its time; what fill() waits for is another matter.
        self.sock.settimeout(max(0.25, self.deadline - time.monotonic()))
        try:
            self.sock.sendall(data)
        except TimeoutError:
            raise TimedOut("the lab does not answer") from None
        except OSError:
            raise LabDied("the lab host ended") from None

    def fill(self, wait):
        """Read more; False after `wait` seconds without any."""
        self.sock.settimeout(wait)
        try:
            data = self.sock.recv(4 * FRAME_MAX)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if not data:
            raise LabDied("the lab host ended")
        self.received += data
        return True

    def frame(self):
        """The next complete frame, or None."""
        if len(self.received) < HEADER.size:
            return None
        kind, length = HEADER.unpack_from(self.received)
        end = HEADER.size + length
        if len(self.received) < end:
            return None
        data = bytes(self.received[HEADER.size:end])
        del self.received[:end]
        return kind, data


def environment(host_settings):
    """What the command sees of our environment."""
    keep = ("NIDRA_", "LANG", "LC_", "TERM", "MESON_", "ASAN_", "UBSAN_", "LSAN_", "TSAN_",
            "PYTHON", "CMOCKA_", "TZ", "V")
    found = {k: v for k, v in os.environ.items() if k.startswith(keep)}
    build = host_settings["build"]
    return found | {
        "PATH": f"{build}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/bash",
        "XDG_RUNTIME_DIR": "/run/user/0", "LAB_OUT": host_settings["out"],
        "NIDRA_BUILD": build, "NIDRA_LAB": host_settings["name"],
    }


def request(command, cwd, env):
    """The frame that starts a command."""
    words = [cwd, *command, *(f"{k}={v}" for k, v in env.items())]
    return (struct.pack("<II", len(command), len(env))
            + b"".join(os.fsencode(word) + b"\0" for word in words))


def run(host, command, *, cwd, deadline, stdin=None, stdout=None, stderr=None):
    """Run a command in a lab; its exit status.

    stdin is a file descriptor or None, stdout and stderr default to ours.
    """
    stdout = sys.stdout.fileno() if stdout is None else stdout
    stderr = sys.stderr.fileno() if stderr is None else stderr
    env = environment(host.settings())
    with Connection(host, deadline) as link:
        link.send(b"R", request(command, cwd, env))
        with _forward_interrupts(link):
            return _converse(link, stdin, {b"O": stdout, b"E": stderr})


def _converse(link, stdin, outputs):
    """Carry input and output until the command ends."""
    with selectors.DefaultSelector() as ready:
        ready.register(link.sock, selectors.EVENT_READ)
        if stdin is None:
            link.send(b"I")
        else:
            with contextlib.suppress(PermissionError):  # epoll refuses files
                ready.register(stdin, selectors.EVENT_READ)
        polled_file = stdin is not None and len(ready.get_map()) == 1
        while True:
            left = link.deadline - time.monotonic()
            if left <= 0:
                raise TimedOut("the command took too long")
            events = ready.select(0 if polled_file else min(left, 3600))
            from_lab = any(key.fileobj is link.sock for key, _ in events)
            if from_lab:
                link.fill(None)
                status = _deliver(link, outputs)
                if status is not None:
                    return status
            if polled_file or any(key.fileobj == stdin for key, _ in events):
                data = os.read(stdin, FRAME_MAX)
                link.send(b"I", data)
                if not data:
                    polled_file = False
                    with contextlib.suppress(KeyError):
                        ready.unregister(stdin)


def _deliver(link, outputs):
    """Hand out what arrived; the exit status once it is there."""
    while (frame := link.frame()) is not None:
        kind, data = frame
        if kind == b"X":
            return struct.unpack("<I", data)[0]
        if kind in outputs:
            view = memoryview(data)
            while view:
                view = view[os.write(outputs[kind], view):]
    return None


@contextlib.contextmanager
def _forward_interrupts(link):
    """Ctrl-C reaches the command; a second one ends us, and so the command."""
    def forward(number, _frame):
        link.send(b"S", struct.pack("<I", number))
        signal.signal(number, before[number])

    before = {n: signal.getsignal(n) for n in (signal.SIGINT,)}
    for number in before:
        signal.signal(number, forward)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
