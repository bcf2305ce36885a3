"""Write initramfs archives (cpio, newc)."""

import os
import stat
from pathlib import Path


class Archive:
    """An archive under construction; folders of a file are added by themselves."""

    def __init__(self, file):
        self.file = file
        self.inode = 0
        self.known = set()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self._entry("TRAILER!!!", 0)

    def data(self, dest, content, mode=0o644):
        self._folders(dest)
        self._entry(dest, stat.S_IFREG | mode, content)

    def link(self, dest, target):
        self._folders(dest)
        self._entry(dest, stat.S_IFLNK | 0o777, target.encode())

    def node(self, dest, major, minor, mode=0o600):
        self._folders(dest)
        self._entry(dest, stat.S_IFCHR | mode, rdev=(major, minor))

    def folder(self, dest, mode=0o755):
        self._folders(dest)
        if dest not in self.known:
            self.known.add(dest)
            self._entry(dest, stat.S_IFDIR | mode)

    def copy(self, source, dest):
        """One file or symbolic link, whatever it is."""
        info = os.lstat(source)
        if stat.S_ISLNK(info.st_mode):
            self.link(dest, os.readlink(source))
        elif stat.S_ISDIR(info.st_mode):
            self.folder(dest, stat.S_IMODE(info.st_mode))
        elif stat.S_ISREG(info.st_mode):
            self.data(dest, Path(source).read_bytes(), stat.S_IMODE(info.st_mode))

    def _folders(self, dest):
        for parent in reversed(Path(dest.lstrip("/")).parents[:-1]):
            if str(parent) not in self.known:
                self.known.add(str(parent))
                self._entry(str(parent), stat.S_IFDIR | 0o755)

    def _entry(self, name, mode, content=b"", rdev=(0, 0)):
        self.inode += 1
        raw = name.lstrip("/").encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 2 if stat.S_ISDIR(mode) else 1, 0,
                  len(content), 0, 0, *rdev, len(raw), 0)
        self._padded(b"070701" + b"".join(b"%08x" % f for f in fields) + raw)
        self._padded(content)

    def _padded(self, data):
        self.file.write(data)
        self.file.write(bytes(-len(data) % 4))
