"""Where things are: the project, its build folder, caches, running labs."""

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

LAB = Path(__file__).resolve().parent.parent
PROJECT = LAB.parent
TOOLS = LAB / "guest-tools"


def build():
    """The build folder with `nidra` and `nidra-monitor` in its top."""
    return Path(os.environ.get("NIDRA_BUILD") or PROJECT / "build").absolute()


def cache():
    """Downloads and things built for the lab; safe to delete."""
    path = Path(os.environ.get("NIDRA_CACHE") or PROJECT / "build/cache").absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def labs():
    """State of the running labs of this user."""
    path = Path(tempfile.gettempdir()) / f"nidra-lab-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to somebody else")
    return path


@contextlib.contextmanager
def locked(path):
    """Hold an exclusive lock on `path`, against other processes too."""
    with open(path, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
