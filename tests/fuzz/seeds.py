#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the fuzzers' first inputs into tests/fuzz/corpus/. What is there by hand stays."""
import gzip
import lzma
import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / 'corpus'


def put(fuzzer, name, data):
    folder = CORPUS / fuzzer
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


# xenstore: (type, tx, payload)
def message(kind, payload=b'', tx=0):
    return struct.pack('<IIII', kind, 1, tx, len(payload)) + payload


DIRECTORY, READ, GET_PERMS, WATCH, UNWATCH, START, END, WRITE, MKDIR, RM, SET_PERMS, RESET, PART = \
    1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 21, 20

TALK = {
    'tree': [message(WRITE, b'data/a\0one'), message(READ, b'data/a\0'), message(DIRECTORY, b'data\0'),
             message(MKDIR, b'data/b\0'), message(RM, b'data\0'), message(PART, b'data\x000\0')],
    'perms': [message(MKDIR, b'p\0'), message(SET_PERMS, b'p\0w7\0r3\0'), message(GET_PERMS, b'p\0')],
    'watch': [message(WATCH, b'w\0t\0'), message(WATCH, b'@releaseDomain\0r\0'),
              message(WRITE, b'w/x\0v'), message(RM, b'w\0'), message(UNWATCH, b'w\0t\0'),
              message(RESET)],
    'transaction': [message(WATCH, b'w\0t\0'), message(START, b'\0'), message(WRITE, b'w\0v', 1),
                    message(READ, b'name\0', 1), message(DIRECTORY, b'w\0', 1),
                    message(END, b'T\0', 1), message(START, b'\0'), message(START, b'\0'),
                    message(WRITE, b'w\0a', 2), message(WRITE, b'w\0b', 3), message(END, b'T\0', 2),
                    message(END, b'T\0', 3)],
}


def ring_pieces(data):
    return b''.join(bytes([len(data[i:i + 200])]) + data[i:i + 200] for i in range(0, len(data), 200))


def blob(data):
    return struct.pack('<I', len(data)) + data


def node(name, value, children=()):
    return (blob(name) + blob(value) + struct.pack('<QBHBI', 3, 1, 7, 0, len(children)) +
            b''.join(children))


def store_state(buffered=b''):
    tree = node(b'', b'', [node(b'a', b'1'), node(b'b', b'2', [node(b'c', b'')])])
    return (struct.pack('<IHQ', 1, 7, 9) + tree + struct.pack('<I', 1) + blob(b'/a') + blob(b't') +
            b'\0' + struct.pack('<III', 1, 4, 5) + blob(buffered) + blob(message(READ, b'x')) + b'\0')


def xenstore():
    for name, talk in TALK.items():
        put('xenstore', name, b'\0' + b''.join(talk))
        put('xenstore', 'ring-' + name, b'\1' + ring_pieces(b''.join(talk)))
    put('xenstore', 'ring-indices', b'\1\0' + struct.pack('<IIII', 2**32 - 4, 2**32 - 4, 9, 9))
    put('xenstore', 'state', b'\2' + store_state())
    put('xenstore', 'state-half', b'\2' + store_state(message(READ, b'name\0')[:-2]))
    put('xenstore', 'state-more-than-one', b'\2' + store_state(message(READ, b'') + b'more'))


# image, without digests: the fuzzer's build takes any
def image():
    def record(kind, body, flags=0):
        return struct.pack('<IIIIQ', kind, 0, flags, 0, len(body)) + bytes(16) + body + bytes(-len(body) % 8)

    def whole(pages, regions, extents):
        records = (record(1, b'{}') + record(3, b'vcpu') + record(99, b'?', 1) +
                   record(6, b''.join(struct.pack('<IIQQ', 1, 0, *r) for r in regions)) +
                   record(7, b''.join(struct.pack('<QQQ', *e) + bytes(16) for e in extents)) +
                   record(8, bytes(16)))
        data = b'\1' * 4096 * pages
        head = struct.pack('<8sIIQQQQ', b'NIDRAIMG', 1, 64, 0, 0, 4096 + len(data),
                           4096 + len(data) + len(records))
        return head.ljust(4096, b'\0') + data + records

    put('image', 'empty', whole(0, [], []))
    put('image', 'page', whole(1, [(0, 65536)], [(4096, 4096, 4096)]))
    put('image', 'regions', whole(3, [(0, 65536), (1 << 32, 8192)],
                                  [(0, 8192, 8192), (1 << 32, 4096, 4096)]))


# kernel
def elf64(notes_too=True):
    code = b'\x0f\x01\xd9\xc3' + b'\xcc' * 28 + b'\x0f\x01\xc1\xc3' + b'\xcc' * 28
    note = struct.pack('<III4sI', 4, 4, 18, b'Xen\0', 0x100000)
    at = 64 + 2 * 56
    return (b'\x7fELF\2\1\1' + bytes(9) +
            struct.pack('<HHIQQQIHHHHHH', 2, 62, 1, 0, 64, 0, 0, 64, 56, 2 if notes_too else 1, 64, 0, 0) +
            struct.pack('<IIQQQQQQ', 1, 5, at, 0, 0x100000, len(code), 8192, 4096) +
            struct.pack('<IIQQQQQQ', 4, 4, at + len(code), 0, 0, len(note), len(note), 4) + code + note)


def elf32():
    note = struct.pack('<III4sI', 4, 4, 18, b'Xen\0', 0x100000)
    at = 52 + 2 * 32
    return (b'\x7fELF\1\1\1' + bytes(9) +
            struct.pack('<HHIIIIIHHHHHH', 2, 3, 1, 0, 52, 0, 0, 52, 32, 2, 40, 0, 0) +
            struct.pack('<IIIIIIII', 1, at, 0, 0x100000, 4, 4096, 5, 4096) +
            struct.pack('<IIIIIIII', 4, at + 4, 0, 0, len(note), len(note), 4, 4) + b'code' + note)


def bzimage(packed, size):
    payload = packed + struct.pack('<I', size)
    head = bytearray(1024)
    head[0x1f1] = 1
    head[0x202:0x208] = b'HdrS\x0f\x02'
    head[0x248:0x250] = struct.pack('<II', 0, len(payload))
    return bytes(head) + payload


def kernel():
    elf = elf64()
    put('kernel', 'elf64', elf)
    put('kernel', 'elf64-no-notes', elf64(False))
    put('kernel', 'elf32', elf32())
    put('kernel', 'gzip', bzimage(gzip.compress(elf, mtime=0), len(elf)))
    put('kernel', 'xz', bzimage(lzma.compress(elf, check=lzma.CHECK_CRC32), len(elf)))
    put('kernel', 'lzma', bzimage(lzma.compress(elf, lzma.FORMAT_ALONE), len(elf)))
    lz4 = bytes([0xf0]) + bytes([255] * ((len(elf) - 15) // 255)) + bytes([(len(elf) - 15) % 255]) + elf
    put('kernel', 'lz4', bzimage(b'\x02\x21\x4c\x18' + struct.pack('<I', len(lz4)) + lz4, len(elf)))
    raw = struct.pack('<I', 1 | len(elf) << 3)[:3] + elf
    zstd = b'\x28\xb5\x2f\xfd' + b'\x60' + struct.pack('<H', len(elf) - 256) + raw
    put('kernel', 'zstd', bzimage(zstd, len(elf)))


def api():
    for i, (method, path, body) in enumerate([
            ('GET', '/v1/version', ''), ('GET', '/v1/machine', ''), ('GET', '/v1/jobs/1', ''),
            ('DELETE', '/v1/jobs/1', ''), ('GET', '/v1/jobs/1/events', ''), ('POST', '/v1/pause', '{}'),
            ('POST', '/v1/suspend', '{"timeout_s": 1, "fail_at": "x"}'),
            ('POST', '/v1/resume', '{"uncooperative": true}'),
            ('POST', '/v1/save', '{"image": "x", "replace": true, "stay": false}'),
            ('POST', '/v1/memory', '{"target_mib": 64}'), ('POST', '/v1/vcpus', '{"online": 1}'),
            ('POST', '/v1/destroy', '')]):
        put('api', f'{i:02}', f'{method}\n{path}\n{body}'.encode())


def main():
    xenstore()
    image()
    kernel()
    api()


if __name__ == '__main__':
    main()
