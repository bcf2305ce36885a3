#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A second reader of images, written from docs/image-format.md alone.

    tests/image_reader.py IMAGE              checks all of it, and of its parents
    tests/image_reader.py IMAGE --dump OUT   writes guest memory: the regions by rising address
    tests/image_reader.py IMAGE --alter N    alters every Nth byte in turn, and says which went unnoticed

    ... --key-file F, --passphrase-file F    of an encrypted one

It shares no code with nidra. libxxhash, libzstd and libsodium are called as they are; LZ4 is unpacked here.
"""

import argparse
import ctypes
import hashlib
import hmac
import json
import os
import struct
import sys

PAGE = 4096
METADATA, MACHINE, VCPU, XEN, XENSTORE, REGIONS, EXTENTS_1, END, EXTENTS, MAP, PARENT, STANDS_FOR, \
    CRYPT, MAC = range(1, 15)
ZSTD, LZ4, HAS_PARENT, ENCRYPTED = 1, 2, 4, 8
OPTIONAL, SECRET = 1, 2
VISIBLE = (CRYPT, REGIONS, PARENT, STANDS_FOR, MAC, END, METADATA)


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
_sodium = ctypes.CDLL("libsodium.so.23")
_sodium.sodium_init()
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


# ---- encryption ----

def argon2id(passphrase, salt, ops, size):
    out = ctypes.create_string_buffer(32)
    want(1 <= ops <= 10 and size <= 1 << 30, "CRYPT asks for too much")
    want(_sodium.crypto_pwhash(out, ctypes.c_ulonglong(32), passphrase, ctypes.c_ulonglong(len(passphrase)), salt,
                               ctypes.c_ulonglong(ops), ctypes.c_size_t(size), 2) == 0, "Argon2id")
    return out.raw


class Key:
    """What an operator has; Keys are what an image makes of it."""

    def __init__(self, secret, is_passphrase):
        self.secret = secret.removesuffix(b"\n") if is_passphrase else secret
        self.is_passphrase = is_passphrase
        self.stretched = {}

    def master(self, ops, size, salt):
        if not self.is_passphrase:
            want(not (ops or size or any(salt)), "CRYPT's parameters")
            return hashlib.blake2b(self.secret, digest_size=32).digest()
        if (ops, size, salt) not in self.stretched:
            self.stretched[ops, size, salt] = argon2id(self.secret, salt, ops, size)
        return self.stretched[ops, size, salt]


class Keys:
    def __init__(self, crypt, key):
        want(len(crypt) == 88, "CRYPT")
        cipher, kdf, ops, size, kdf_salt, salt, check = struct.unpack("<IIQQ16s32s16s", crypt)
        want(cipher == 1 and kdf == key.is_passphrase, "another kind of key")
        image = hashlib.blake2b(salt, key=key.master(ops, size, kdf_salt), digest_size=32).digest()
        self.data = self._sub(image, 1, 32)
        self.mac = self._sub(image, 2, 32)
        want(self._sub(image, 3, 16) == check, "another key")

    @staticmethod
    def _sub(image, number, size):
        return hashlib.blake2b(b"", key=image, digest_size=size, salt=struct.pack("<QQ", number, 0),
                               person=b"nidraimg" + bytes(8)).digest()

    def open(self, what, number, known, data, tag):
        out = ctypes.create_string_buffer(len(data) or 1)
        want(_sodium.crypto_aead_chacha20poly1305_ietf_decrypt_detached(
            out, None, bytes(data), ctypes.c_ulonglong(len(data)), bytes(tag), bytes(known),
            ctypes.c_ulonglong(len(known)), struct.pack("<IQ", what, number), self.data) == 0, "a tag")
        return out.raw[:len(data)]


# ---- one file ----

class Image:
    """One file: `records` by (type, instance), `id`, `regions`, `extents`, `runs`, `parent`."""

    def __init__(self, data, name, key=None):
        self.data, self.name, self.keys = data, name, None
        self._header()
        self._records()
        self._unlock(key)
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
        want(not self.required & ~(0 if self.version == 1 else 15), f"required features 0x{self.required:x}")
        want(self.version >= 1 and header_len == 64, "header")
        want(file_len == len(self.data), f"{len(self.data)} bytes of {file_len}")
        want(self.records_offset % 4096 == 0 and 4096 <= self.records_offset <= file_len, "header")
        want(file_len - self.records_offset <= 256 << 20, "header")
        want(not any(self.data[64:4096]), "bytes behind the header")

    def _records(self):
        self.records, self.order, self.heads, digests, at = {}, [], [], b"", self.records_offset
        while True:
            want(at + 40 <= len(self.data), "a record is cut off")
            kind, instance, flags, zero, size = struct.unpack_from("<IIIIQ", self.data, at)
            body, end = at + 40, at + 40 + (size + 7) // 8 * 8
            want(end <= len(self.data), "a record is cut off")
            own = self.data[at + 24:body]
            want(digest(self.data[at:at + 24] + self.data[body:body + size]) == own, "a record's digest")
            want(zero == 0 and not any(self.data[body + size:end]), "a record's zeros")
            want(1 <= kind <= 16 or flags & OPTIONAL, f"a record of type {kind} is needed and unknown")
            self.records.setdefault((kind, instance), self.data[body:body + size])
            self.order.append((kind, instance))
            self.heads.append((at, flags, size))
            at = end
            if kind == END:
                break
            digests += own
        want(at == len(self.data), "bytes behind END")
        self.id = self.records[END, 0]
        want(self.id == digest(digests), "END")

    def _unlock(self, key):
        kinds = [kind for kind, _ in self.order]
        if not self.required & ENCRYPTED:
            want(not key, "not encrypted")
            want(CRYPT not in kinds and MAC not in kinds, "a record of encrypted images")
            want(not any(flags & SECRET for _, flags, _ in self.heads), "an encrypted record")
            return
        want(key, "encrypted")
        want(kinds[0] == CRYPT and kinds[-2] == MAC and kinds.count(CRYPT) == kinds.count(MAC) == 1, "CRYPT or MAC")
        want(all(self.order[i][1] == 0 and self.heads[i][1] == 0 for i in (-1, -2)), "the last records")
        self.keys = Keys(self.records[self.order[0]], key)
        mac = hashlib.blake2b(self.data[:48] + self.data[self.records_offset:self.heads[-2][0]], key=self.keys.mac,
                              digest_size=32).digest()
        want(hmac.compare_digest(mac, self.records[MAC, 0]), "MAC")
        self.records = {}
        for number, (at, flags, size) in enumerate(self.heads):
            body = self.data[at + 40:at + 40 + size]
            want(bool(flags & SECRET) == (self.order[number][0] not in VISIBLE) or self.order[number][0] == METADATA,
                 "a record that is encrypted, or is not")
            if flags & SECRET:
                want(size >= 16, "a record's tag")
                body = self.keys.open(2, number, self.data[at:at + 24], body[:-16], body[-16:])
            self.records.setdefault(self.order[number], body)

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
        if self.keys:
            data = self.keys.open(1, offset, struct.pack("<QIHBB", *self.extents[number][:5]), data, own)
        else:
            want(digest(data) == own, f"the digest of extent {number}")
        if codec == 0:
            return data
        return (unpack_zstd if codec == 1 else unpack_lz4)(data, pages * PAGE)

    def check(self):
        for number in range(len(self.extents)):
            self.extent(number)


# ---- a chain ----

def open_file(path, key):
    with open(path, "rb") as file:
        data = file.read()
    try:
        return Image(data, path, key)
    except Bad as bad:
        raise Bad(f"{path}: {bad}") from None


def open_chain(path, key):
    """The image and its parents."""
    chain = [open_file(path, key)]
    while chain[-1].parent:
        child = chain[-1]
        want(len(chain) < 4096, "too many parents")
        parent_id, name = child.parent
        folder = os.path.dirname(child.name)
        path = os.path.join(folder, name)   # an absolute name stays as it is
        if not os.path.exists(path):
            path = os.path.join(folder, os.path.basename(name))
        parent = open_file(path, key)
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


def unnoticed(chain, step, key):
    """Bytes of the first file that can be altered without anybody noticing."""
    data, found = bytearray(chain[0].data), []
    for at in range(0, len(data), step):
        data[at] ^= 0x41
        try:
            Image(bytes(data), "altered", key).check()
            found.append(at)
        except Bad:
            pass
        data[at] ^= 0x41
    return found


def read_key(args):
    path = args.key_file or args.passphrase_file
    if not path:
        return None
    with open(path, "rb") as file:
        return Key(file.read(), not args.key_file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--dump", metavar="OUT")
    parser.add_argument("--alter", metavar="N", type=int)
    parser.add_argument("--key-file", metavar="F")
    parser.add_argument("--passphrase-file", metavar="F")
    args = parser.parse_args()
    try:
        key = read_key(args)
        chain = open_chain(args.image, key)
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
        found = unnoticed(chain, args.alter, key)
        if found:
            sys.exit(f"image_reader: bytes {found} can be altered")
    print(f"{args.image}: version {chain[0].version}, {len(chain)} files, {len(chain[0].extents)} extents, "
          f"{sum(len(part) for part in content.values()) >> 20} MiB, id {chain[0].id.hex()}")


if __name__ == "__main__":
    main()
