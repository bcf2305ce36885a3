"""Carry files that changed outside into a lab that is up.

A lab sees the outer machine's files through a cache that is never told of a
change, and a file replaced outside under a cached name would even be read as
a mixture of old and new.  So before each command what changed in the shared
folders is sent over; it lands in the scratch overlay, as new files.
"""

import fcntl
import fnmatch
import io
import json
import os
import tarfile

SKIP_FOLDERS = {".git", "__pycache__", "cache", "lab-out"}
SKIP_FILES = ("*.o", "*.d", "*.pyc", ".ninja_*")
GONE = "/run/lab-gone"
UNPACK = ["tar", "-C", "/", "-xf", "-"]
UNPACK_AND_DELETE = ["sh", "-c", f"tar -C / -xf - && xargs -0 rm -f -- <{GONE}"]
BUILD_MARK = "meson-private"
SKIP_OBJECTS = ".p"     # meson's folders of object files


def scan(shares):
    """The files in the shared folders: path -> what a change would alter."""
    found = {}
    tops = {os.fspath(share) for share in shares}
    todo = list(tops)
    while todo:
        folder = todo.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue    # deleted meanwhile
        if folder not in tops and any(entry.name == BUILD_MARK for entry in entries):
            continue    # another build than ours
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in SKIP_FOLDERS and not entry.name.endswith(SKIP_OBJECTS):
                    todo.append(entry.path)
            elif not any(fnmatch.fnmatch(entry.name, p) for p in SKIP_FILES):
                try:
                    info = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                found[entry.path] = [info.st_ino, info.st_size, info.st_mtime_ns, info.st_mode]
    return found


def begin(host, folders):
    """Remember what the lab starts with."""
    (host.folder / "seen.json").write_text(json.dumps(
        {"folders": [os.fspath(f) for f in folders], "files": scan(folders)}))


def update(host, run):
    """Bring the lab up to date; `run(command, stdin)` runs a command there."""
    with open(host.folder / "seen.json", "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        seen = json.load(file)
        now = scan(seen["folders"])
        changed = [path for path, mark in now.items() if seen["files"].get(path) != mark]
        gone = [path for path in seen["files"] if path not in now]
        if not changed and not gone:
            return
        with _pack(changed, gone) as archive:
            run(UNPACK_AND_DELETE if gone else UNPACK, archive.fileno())
        file.seek(0)
        file.truncate()
        json.dump({"folders": seen["folders"], "files": now}, file)


def _pack(changed, gone):
    """An archive of the changed files, and of the names of those deleted."""
    memory = open(os.memfd_create("changed"), "w+b")
    with tarfile.open(fileobj=memory, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in changed:
            try:
                archive.add(path, recursive=False)
            except FileNotFoundError:
                continue
        if gone:
            names = "\0".join(gone).encode()
            info = tarfile.TarInfo(GONE.lstrip("/"))
            info.size = len(names)
            archive.addfile(info, io.BytesIO(names))
    memory.seek(0)
    return memory


def fetch(host, run):
    """Bring back what a lab without 9p left in its $LAB_OUT."""
    out = host.settings()["out"]
    with open(os.memfd_create("out"), "w+b") as memory:
        run(["tar", "-C", out, "-cf", "-", "."], memory.fileno())
        memory.seek(0)
        with tarfile.open(fileobj=memory) as archive:
            archive.extractall(out)
