#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A second reader of images, written from docs/image-format.md alone.

    tests/image_reader.py IMAGE              checks all of it, and of its parents
    tests/image_reader.py IMAGE --dump OUT   writes guest memory: the regions by rising address
    tests/image_reader.py IMAGE --alter N    alters every Nth byte in turn, and says which went unnoticed

It shares no code with nidra. libxxhash and libzstd are called as they are; LZ4 is unpacked here.
"""

import argparse
import ctypes
import json
import os
import struct
import sys

PAGE = 4096
METADATA, MACHINE, VCPU, XEN, XENSTORE, REGIONS, EXTENTS_1, END, EXTENTS, MAP, PARENT, STANDS_FOR = range(1, 13)
ZSTD, LZ4, HAS_PARENT = 1, 2, 4


class Bad(Exception):
    """Not an image, or not a whole one."""


def want(condition, what):
    if not condition:
        raise Bad(what)


# ---- what is not ours ----

class _Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


_xxhash = ctypes.CDLL("libxxhash.so.0")
_xxhash.XXH3_128bits.restype = _Hash128
_xxhash.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
_zstd = ctypes.CDLL("libzstd.so.1")
_zstd.ZSTD_decompress.restype = ctypes.c_size_t
_zstd.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]


def digest(data):
    h = _xxhash.XXH3_128bits(bytes(data), len(data))
    return struct.pack(">QQ", h.high, h.low)


def unpack_zstd(data, size):
    out = ctypes.create_string_buffer(size)
    want(_zstd.ZSTD_decompress(out, size, bytes(data), len(data)) == size, "an extent cannot be unpacked")
    return out.raw


def unpack_lz4(data, size):
    """One LZ4 block: literals, then a match that may overlap what it makes."""
    out, at = bytearray(), 0

    def length(first):
        nonlocal at
        n = first
        while first == 15:
            byte = data[at]
            at += 1
            n += byte
            if byte != 255:
                break
        return n

    try:
        while at < len(data):
            token = data[at]
            at += 1
            n = length(token >> 4)
            out += data[at:at + n]
            at += n
            if at >= len(data):
                break
            back = data[at] | data[at + 1] << 8
            at += 2
            n = length(token & 15) + 4
            want(0 < back <= len(out), "an extent cannot be unpacked")
            start = len(out) - back
            piece = out[start:start + n]
            out += (piece * (n // len(piece) + 1))[:n]
    except IndexError:
        raise Bad("an extent cannot be unpacked") from None
    want(len(out) == size, "an extent cannot be unpacked")
    return bytes(out)


# ---- one file ----

class Image:
    """One file: `records` by (type, instance), `id`, `regions`, `extents`, `runs`, `parent`."""

    def __init__(self, data, name):
        self.data, self.name = data, name
        self._header()
        self._records()
        self._regions()
        self.parent = None
        if self.version == 1:
            self._index_1()
        else:
            self._index_2()
        self._check_extents()
        self._check_runs()

    def _header(self):
        want(len(self.data) >= 64 and self.data[:8] == b"NIDRAIMG", "not an image")
        (self.version, header_len, self.required, _optional, self.records_offset,
         file_len) = struct.unpack_from("<IIQQQQ", self.data, 8)
        want(self.version <= 2, f"version {self.version}")
        want(digest(self.data[:48]) == self.data[48:64], "header")
        want(not self.required & ~(0 if self.version == 1 else 7), f"required features 0x{self.required:x}")
        want(self.version >= 1 and header_len == 64, "header")
        want(file_len == len(self.data), f"{len(self.data)} bytes of {file_len}")
        want(self.records_offset % 4096 == 0 and 4096 <= self.records_offset <= file_len, "header")
        want(file_len - self.records_offset <= 256 << 20, "header")
        want(not any(self.data[64:4096]), "bytes behind the header")

    def _records(self):
        self.records, self.order, digests, at = {}, [], b"", self.records_offset
        while True:
            want(at + 40 <= len(self.data), "a record is cut off")
            kind, instance, flags, zero, size = struct.unpack_from("<IIIIQ", self.data, at)
            body, end = at + 40, at + 40 + (size + 7) // 8 * 8
            want(end <= len(self.data), "a record is cut off")
            own = self.data[at + 24:body]
            want(digest(self.data[at:at + 24] + self.data[body:body + size]) == own, "a record's digest")
            want(zero == 0 and not any(self.data[body + size:end]), "a record's zeros")
            want(1 <= kind <= 12 or flags & 1, f"a record of type {kind} is needed and unknown")
            self.records.setdefault((kind, instance), self.data[body:body + size])
            self.order.append((kind, instance))
            at = end
            if kind == END:
                break
            digests += own
        want(at == len(self.data), "bytes behind END")
        self.id = self.records[END, 0]
        want(self.id == digest(digests), "END")

    def _table(self, kind, layout):
        want((kind, 0) in self.records, f"record {kind} is missing")
        body = self.records[kind, 0]
        want(len(body) % struct.calcsize(layout) == 0, f"record {kind}'s length")
        return list(struct.iter_unpack(layout, body))

    def _regions(self):
        self.regions, self.kinds = [], []
        for kind, zero, gpa, size in self._table(REGIONS, "<IIQQ"):
            want(zero == 0 and gpa % PAGE == 0 and size % PAGE == 0, "a region makes no sense")
            self.regions.append((gpa, size))
            self.kinds.append(kind)
        order = sorted(self.regions)
        want(all(a[0] + a[1] <= b[0] for a, b in zip(order, order[1:])), "regions overlap")

    def _index_1(self):
        table = self._table(EXTENTS_1, "<QQQ16s")
        by_offset = sorted(range(len(table)), key=lambda i: table[i][1])
        number = {i: n for n, i in enumerate(by_offset)}
        self.extents = [(table[i][1], table[i][2], table[i][2] // PAGE, 0, 0, table[i][3]) for i in by_offset]
        self.runs = [(gpa, size // PAGE, number[i], 0, 0) for i, (gpa, _, size, _) in enumerate(table)]
        want(all(e[1] % PAGE == 0 for e in self.extents), "an extent makes no sense")

    def _index_2(self):
        self.extents = self._table(EXTENTS, "<QIHBB16s")
        self.runs = self._table(MAP, "<QIIII")
        want(((PARENT, 0) in self.records) == bool(self.required & HAS_PARENT), "parent without its bit, or otherwise")
        if (PARENT, 0) in self.records:
            body = self.records[PARENT, 0]
            want(len(body) > 16 and 0 not in body[16:], "the parent's name")
            self.parent = (body[:16], os.fsdecode(body[16:]))

    def _check_extents(self):
        at = 4096
        for offset, size, pages, codec, zero, _ in self.extents:
            want(offset == at and zero == 0 and codec <= 2 and 1 <= pages <= 256, "an extent makes no sense")
            want(0 < size <= pages * PAGE and (codec or size == pages * PAGE), "an extent makes no sense")
            at += size
        want(0 <= self.records_offset - at < 4096, "bytes that no extent has")
        want(not any(self.data[at:self.records_offset]), "bytes behind the extents")

    def _check_runs(self):
        end = 0
        for gpa, pages, extent, first, zero in self.runs:
            want(gpa % PAGE == 0 and gpa >= end and pages and zero == 0, "the map makes no sense")
            end = gpa + pages * PAGE
            want(any(g <= gpa and end <= g + n for g, n in self.regions), "the map leaves memory")
            if extent == 0xffffffff:
                want(self.parent and first == 0, "a run of zeros")
            else:
                want(extent < len(self.extents) and first + pages <= self.extents[extent][2], "the map leaves an extent")

    def ids(self):
        """Of this image, and of those that it stands for."""
        body = self.records.get((STANDS_FOR, 0), b"")
        return {self.id} | {body[i:i + 16] for i in range(0, len(body) // 16 * 16, 16)}

    def extent(self, number):
        offset, size, pages, codec, _, own = self.extents[number]
        data = self.data[offset:offset + size]
        want(digest(data) == own, f"the digest of extent {number}")
        if codec == 0:
            return data
        return (unpack_zstd if codec == 1 else unpack_lz4)(data, pages * PAGE)

    def check(self):
        for number in range(len(self.extents)):
            self.extent(number)


# ---- a chain ----

def open_file(path):
    with open(path, "rb") as file:
        data = file.read()
    try:
        return Image(data, path)
    except Bad as bad:
        raise Bad(f"{path}: {bad}") from None


def open_chain(path):
    """The image and its parents."""
    chain = [open_file(path)]
    while chain[-1].parent:
        child = chain[-1]
        want(len(chain) < 4096, "too many parents")
        parent_id, name = child.parent
        folder = os.path.dirname(child.name)
        path = os.path.join(folder, name)   # an absolute name stays as it is
        if not os.path.exists(path):
            path = os.path.join(folder, os.path.basename(name))
        parent = open_file(path)
        want(parent_id in parent.ids(), f"{path} is not the parent that {child.name} was made from")
        want((parent.regions, parent.kinds) == (child.regions, child.kinds), f"{path} has other regions")
        chain.append(parent)
    return chain


def memory(chain):
    """{gpa: bytearray} of each region."""
    result = {gpa: bytearray(size) for gpa, size in chain[0].regions}
    for image in reversed(chain):
        cache = (None, b"")
        for gpa, pages, extent, first, _ in image.runs:
            start = next(g for g, size in image.regions if g <= gpa < g + size)
            if extent == 0xffffffff:
                data = bytes(pages * PAGE)
            else:
                if cache[0] != extent:
                    cache = (extent, image.extent(extent))
                data = cache[1][first * PAGE:(first + pages) * PAGE]
            result[start][gpa - start:gpa - start + pages * PAGE] = data
    return result


def unnoticed(chain, step):
    """Bytes of the first file that can be altered without anybody noticing."""
    data, found = bytearray(chain[0].data), []
    for at in range(0, len(data), step):
        data[at] ^= 0x41
        try:
            Image(bytes(data), "altered").check()
            found.append(at)
        except Bad:
            pass
        data[at] ^= 0x41
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--dump", metavar="OUT")
    parser.add_argument("--alter", metavar="N", type=int)
    args = parser.parse_args()
    try:
        chain = open_chain(args.image)
        for image in chain:
            image.check()
            if (METADATA, 0) in image.records:
                want(isinstance(json.loads(image.records[METADATA, 0]), dict), "METADATA is no object")
        content = memory(chain)
    except (Bad, ValueError, OSError) as error:
        sys.exit(f"image_reader: {error}")
    if args.dump:
        with open(args.dump, "wb") as out:
            for gpa in sorted(content):
                out.write(content[gpa])
    if args.alter:
        found = unnoticed(chain, args.alter)
        if found:
            sys.exit(f"image_reader: bytes {found} can be altered")
    print(f"{args.image}: version {chain[0].version}, {len(chain)} files, {len(chain[0].extents)} extents, "
          f"{sum(len(part) for part in content.values()) >> 20} MiB, id {chain[0].id.hex()}")


if __name__ == "__main__":
    main()
