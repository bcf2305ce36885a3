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

    def whole2(data, extents, runs, parent=b'', secret=False):
        # Nothing is encrypted here, but the tags are there.
        def hidden(kind, body):
            return record(kind, body + bytes(16), 2) if secret else record(kind, body)

        records = ((record(13, struct.pack('<IIQQ', 1, 0, 0, 0) + bytes(64)) if secret else b'') +
                   record(1, b'{}') + record(6, struct.pack('<IIQQ', 1, 0, 0, 65536)) +
                   (record(11, bytes(16) + parent) if parent else b'') +
                   hidden(9, b''.join(struct.pack('<QIHBB', *e, 0) + bytes(16) for e in extents)) +
                   hidden(10, b''.join(struct.pack('<QIIII', *r, 0) for r in runs)) +
                   (record(14, bytes(32)) if secret else b'') +
                   record(8, bytes(16)))
        data += bytes(-len(data) % 4096)
        head = struct.pack('<8sIIQQQQ', b'NIDRAIMG', 2, 64, (4 if parent else 0) | (8 if secret else 0), 0, 4096 + len(data),
                           4096 + len(data) + len(records))
        return head.ljust(4096, b'\0') + data + records

    lz4 = b'\x1f\1\1\0' + b'\xff' * 31 + b'\x5c' + b'\x50' + b'\1' * 5    # two pages of 1
    put('image', 'two', whole2(b'\1' * 8192 + lz4, [(4096, 8192, 2, 0), (12288, len(lz4), 2, 2)],
                               [(4096, 1, 0, 1), (8192, 2, 1, 0), (32768, 1, 0, 0)]))
    put('image', 'child', whole2(b'\1' * 4096, [(4096, 4096, 1, 0)], [(0, 1, 0, 0), (8192, 3, 2**32 - 1, 0)],
                                 b'nobody'))
    put('image', 'encrypted', whole2(b'\1' * 4096, [(4096, 4096, 1, 0)], [(0, 1, 0, 0), (8192, 1, 0, 0)], secret=True))
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


# hypercall: steps as fuzz_hypercall.c reads them
MEMORY, VERSION, CONSOLE, GRANT, VCPU, SCHED, HVM, EVTCHN, TIMER = range(9)
POINTER = 0x80


def call(which, cmd, arg1, arg2, body=b'', vcpu=0):
    return bytes([9, vcpu, which, cmd, arg1, arg2, len(body)]) + body


def evtchn(cmd, body, vcpu=0):
    return call(EVTCHN, cmd, POINTER, 0, body, vcpu)


def hypercall():
    shared_info = call(MEMORY, 7, POINTER, 0, struct.pack('<HHIQQ', 0x7ff0, 0, 0, 0, 16))
    vector = b''.join(call(HVM, 23, POINTER, 0, struct.pack('<II', v, 0xf3)) for v in range(4))
    infos = b''.join(call(VCPU, 10, v, POINTER, struct.pack('<QII', 17, v * 64, 0)) for v in range(4))
    begin = shared_info + vector + infos
    ports = (evtchn(1, struct.pack('<III', 0, 0, 0)) + evtchn(1, struct.pack('<III', 5, 0, 0)) +
             evtchn(7, struct.pack('<II', 1, 0)) + evtchn(6, struct.pack('<HHI', 0x7ff0, 0, 0)) +
             evtchn(6, struct.pack('<HHI', 0x7ff0, 0x7ff0, 0)) +
             evtchn(0, struct.pack('<HHII', 0x7ff0, 0, 7, 0)))
    use = (bytes([1, 6, 0, 2, 6, 0]) + b''.join(evtchn(4, struct.pack('<I', p)) for p in range(9)) +
           b''.join(evtchn(9, struct.pack('<I', p)) for p in range(9)) +
           evtchn(8, struct.pack('<II', 6, 2)) + evtchn(5, struct.pack('<HHIII', 0x7ff0, 0, 3, 0, 0)) +
           call(TIMER, 9, 0, 0) + call(SCHED, 3, POINTER, 0, struct.pack('<QIIQ', 0, 0, 0, 0)))
    close = b''.join(evtchn(3, struct.pack('<I', p)) for p in range(3, 9))
    fifo = (b''.join(evtchn(11, struct.pack('<QIIB7x', 18 + v, 0, v, 0)) for v in range(4)) +
            evtchn(12, struct.pack('<Q', 22)))
    put('hypercall', 'two-level', begin + ports + use + close)
    put('hypercall', 'fifo', begin + fifo + ports + use + evtchn(13, struct.pack('<II', 6, 3)) + use + close)
    put('hypercall', 'sleep', begin + ports + use + b'\5' + use + b'\7')
    put('hypercall', 'sleep-fifo', begin + fifo + ports + use + b'\5' + use + b'\6\x20\0\1')
    put('hypercall', 'grants', call(MEMORY, 7, POINTER, 0, struct.pack('<HHIQQ', 0x7ff0, 0, 1, 0, 1000)) +
        bytes([4, 0, 0, 0, 0]) + call(GRANT, 6, POINTER, 1, struct.pack('<HHIIh', 0x7ff0, 0, 0, 0, 0)) +
        call(GRANT, 8, POINTER, 1, struct.pack('<I', 1)) + b'\5')
    put('hypercall', 'balloon', b'\0\x40\x08\x10' + struct.pack('<QQ', 64, 65) +
        call(MEMORY, 1, POINTER, 0, struct.pack('<QQIHH', 0x8400, 2, 0, 0x7ff0, 0)) + b'\5' +
        call(MEMORY, 6, POINTER, 0, struct.pack('<QQIHH', 0x8400, 2, 0, 0x7ff0, 0)))
    put('hypercall', 'version', b''.join(call(VERSION, n, POINTER, 0, bytes(8)) for n in range(12)) +
        call(CONSOLE, 0, 5, POINTER, b'hello') + call(HVM, 1, POINTER, 0, struct.pack('<HHIQ', 0x7ff0, 0, 1, 0)) +
        call(HVM, 0, POINTER, 0, struct.pack('<HHIQ', 0x7ff0, 0, 12, 1)))


# ioapic: what (READ, WRITE, RAISE, SAVE, LOAD), where, length, what the local APICs answer (0: -1, 1: 0, 2: 1), value
def ioapic():
    def access(what, where, answer, value=0):
        return struct.pack('<BBBBI', what, where, 4, answer, value)

    def write(register, answer, value):
        return access(1, 0, answer, register) + access(1, 0x10, answer, value)

    entries = struct.pack('<24Q', *[1 << 16] * 24)
    put('ioapic', 'linux', write(0x31, 1, 2 << 24) + write(0x30, 1, 0x31) + access(2, 16, 1) + access(2, 16, 2) +
        access(0, 0x10, 2))
    put('ioapic', 'latched', access(2, 16, 2) + write(0x30, 2, 0x31) + access(1, 0x10, 2, 0x931) + access(3, 0, 0) +
        bytes([4, 0, 0, 2]) + struct.pack('<BBHI', 1, 0x30, 24, 1 << 16) + entries + access(2, 16, 2))


# blkif: read-only, size of the disk, a request, indirect segments
def request(op, sector, segments=(), count=None):
    count = len(segments) if count is None else count
    return (struct.pack('<BBHQQ', op, count, 0, 99, sector) +
            b''.join(struct.pack('<IBB2x', *s) for s in segments)).ljust(112, b'\0')


def blkif():
    disk = struct.pack('<BQ', 0, 1 << 20)
    pages = [(100 + i, 0, 7) for i in range(11)]
    put('blkif', 'read', disk + request(0, 8, pages))
    put('blkif', 'write', disk + request(1, 2040, [(100, 2, 5)]))
    put('blkif', 'write-readonly', b'\1' + disk[1:] + request(1, 0, pages[:1]))
    put('blkif', 'flush', disk + request(3, 2**64 - 1))
    put('blkif', 'flush-data', disk + request(3, 8, pages[:2]))
    put('blkif', 'discard', disk + struct.pack('<BBHQQQ', 5, 0, 0, 99, 16, 64).ljust(112, b'\0'))
    put('blkif', 'discard-secure', disk + struct.pack('<BBHQQQ', 5, 1, 0, 99, 16, 64).ljust(112, b'\0'))
    put('blkif', 'beyond', disk + request(0, 2**64 - 8, pages[:1]))
    put('blkif', 'indirect', disk + struct.pack('<BBHQQHHI', 6, 0, 32, 99, 8, 0, 0, 77).ljust(112, b'\0') +
        b''.join(struct.pack('<IBB2x', 100 + i, 0, 7) for i in range(32)))


# vbd: steps as fuzz_vbd.c reads them
def vbd():
    def io(op, sector, segments, place=0):
        return (bytes([1, place, op, len(segments), sector]) + b''.join(bytes(s) for s in segments) +
                bytes([3, place]))

    def connect(disk=0, place=0):
        return bytes([6, disk | place << 1])

    def state(n, disk=0):
        return bytes([5, disk | n << 1])

    def queue(i, place):
        return bytes([4, (4 + 2 * i) * 2, 8 + place, 4, (5 + 2 * i) * 2, 3 + place])

    drain, go, move, new_life = b'\x09', b'\x0a', b'\x0c', b'\x8a'
    page = (12, 0, 7)
    work = io(1, 0, [page, (13, 2, 5)]) + io(0, 0, [(14, 0, 7)]) + io(3, 0, []) + io(5, 8, [page])
    indirect = (b'\0\4\0\0\x10' + struct.pack('<IBB2xIBB2x', 13, 0, 7, 14, 1, 6) +
                bytes([1, 0, 6, 0, 8, 2, 12, 3, 0]) + bytes([1, 0, 6, 1, 8, 2, 12, 3, 0]))
    put('vbd', 'work', connect() + work)
    put('vbd', 'indirect', connect() + indirect)
    put('vbd', 'two', connect(0, 0) + connect(1, 1) + work + io(0, 8, [page], 1) + io(1, 8, [page], 1))
    put('vbd', 'again', connect() + work + state(5) + state(6) + state(1) + connect(0, 1) + io(0, 0, [page], 1))
    put('vbd', 'queues', bytes([4, 6, 3]) + b''.join(queue(i, i) for i in range(3)) + state(3) +
        b''.join(io(0, i, [page], i) for i in range(3)))
    put('vbd', 'rest', connect() + drain + work + state(5) + go + drain + go)
    put('vbd', 'move', connect() + work + drain + io(1, 0, [page]) + move + work)
    put('vbd', 'move-closing', connect() + drain + state(5) + bytes([7, 8, 0, 0, 0]) + move)
    put('vbd', 'new-life', connect() + work + new_life + connect(0, 1) + io(0, 0, [page], 1))
    put('vbd', 'resize', connect() + work + bytes([13, 0, 13, 1]) + io(0, 8, [page]))
    put('vbd', 'revoked', connect() + bytes([7, 12, 4, 0, 0]) + work + bytes([7, 12, 4, 5, 0, 11, 5]) + work)
    put('vbd', 'wild', connect() + io(0, 0, [page]) + bytes([2, 0, 100, 3, 0, 2, 0, 156, 3, 0]) + connect(0, 1))
    put('vbd', 'ports', connect(0, 0) + connect(1, 0) + bytes([8, 0]) + work + bytes([4, 2, 1]) + state(3))
    put('vbd', 'nonsense', bytes([4, 4, 255]) + b'x86_32\0\0' + state(3) + state(9) + state(6) + state(1))


# netif: steps of fuzz_netif.c. Pages 8 to 11 are granted.
def netif():
    def tx(ref, offset, flags, size):
        return b'\0' + struct.pack('<IHHHH', ref, offset, flags, 1, size)

    def gso(kind, size, more=0):
        return b'\0' + struct.pack('<BBHBBH4x', 1, more, size, kind, 0, 0)

    def page(n, at, data):
        return b''.join(b'\6' + struct.pack('<BIB', n, at + i, len(data[i:i + 200])) + data[i:i + 200]
                        for i in range(0, len(data), 200))

    def ip4(protocol, payload):
        return (bytes(12) + b'\x08\0' +
                struct.pack('>BBHHHBBH8s', 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0, bytes(8)) + payload)

    def ip6(protocol, payload):
        return bytes(12) + b'\x86\xdd' + struct.pack('>IHBB32s', 6 << 28, len(payload), protocol, 64, bytes(32)) + payload

    tcp = bytes(12) + b'\x50' + bytes(7)
    more, extra, blank = 4, 8, 1
    rx = b''.join(b'\1' + struct.pack('<HHI', i, 0, 8 + i) for i in range(3)) + b'\3'
    offers = bytes([11, 1, 1, 1])
    udp = ip4(17, bytes(8) + b'abc')
    large4, large6 = ip4(6, tcp + bytes(3000)), ip6(6, tcp + bytes(3000))
    hops = ip6(0, struct.pack('BB6x', 6, 0) + tcp)
    put('netif', 'one', rx + page(0, 0, udp) + tx(8, 0, 0, len(udp)) + b'\2\5')
    put('netif', 'blank', offers + rx + page(0, 0, udp) + tx(8, 0, blank, len(udp)) + b'\2\5')
    put('netif', 'blank-completed', bytes([11, 1, 1, 0]) + rx + page(0, 0, udp) + tx(8, 0, blank, len(udp)) + b'\2\5')
    put('netif', 'pieces', offers + rx + tx(8, 4000, more, 6096) + tx(9, 0, more, 4000) + tx(10, 0, 0, 2000) + b'\2\5')
    put('netif', 'large-4', offers + rx + page(0, 0, large4[:100]) + tx(8, 0, extra | blank, len(large4)) +
        gso(1, 1400) + b'\2\5')
    put('netif', 'large-6', offers + rx + page(0, 0, large6[:100]) + tx(8, 0, extra | blank, len(large6)) +
        gso(2, 1400) + b'\2\5')
    put('netif', 'options-6', offers + rx + page(0, 0, hops) + tx(8, 0, blank, len(hops)) + b'\2\5')
    put('netif', 'outside', offers + rx + b'\4' + struct.pack('<BIBB', 1, len(large4), 1, 200) + large4[:128] + b'\5')
    put('netif', 'wrap', b'\x0a' + struct.pack('<I', 2**32 - 2) + b'\7' + struct.pack('<I', 2**32 - 2) + b'\x08' +
        struct.pack('<I', 2**32 - 2) + b'\x09' + rx + tx(8, 0, 0, 60) * 4 + b'\2\5')
    put('netif', 'nonsense', tx(8, 0, more, 60) + b'\2' + b'\7' + struct.pack('<I', 1000) + b'\2\5')
    put('netif', 'errors', tx(1, 0, 0, 60) + tx(8, 4090, 0, 60) + tx(8, 0, 0, 5) + gso(9, 9) + b'\2\5')


# A call of fuzz_share.c: procedure, arguments; h(0) to h(5) stand for handles
def nfs_call(proc, args):
    return struct.pack('<BH', proc, len(args)) + args


def h(index):
    return bytes([0xf5, index])


def words(*numbers):
    return b''.join(struct.pack('>I', n) for n in numbers)


def text(data):
    return words(len(data)) + data + bytes(-len(data) % 4)


def share():
    root, file, folder, link, pipe, below = (h(i) for i in range(6))
    unset = words(0, 0, 0, 0, 0, 0)
    mode = words(1, 0o644, 0, 0, 0, 0, 0)
    put('share', 'look', nfs_call(1, root) + nfs_call(3, root + text(b'file')) + nfs_call(3, folder + text(b'..')) +
        nfs_call(4, file + words(0x3f)) + nfs_call(5, link) + nfs_call(18, root) + nfs_call(19, root) + nfs_call(20, root))
    put('share', 'list', nfs_call(16, root + words(0, 0, 0, 0, 4096)) + nfs_call(17, folder + words(0, 0, 0, 0, 512, 4096)))
    put('share', 'data', nfs_call(6, file + words(0, 0, 100)) + nfs_call(7, below + words(0, 3, 5, 2) + text(b'hello')) +
        nfs_call(21, file + words(0, 0, 0)) + nfs_call(6, pipe + words(0, 0, 1)) + nfs_call(7, link + words(0, 0, 1, 0) + text(b'x')))
    put('share', 'make', nfs_call(8, root + text(b'new') + words(0) + mode) + nfs_call(8, root + text(b'new') + words(2, 1, 2)) +
        nfs_call(9, folder + text(b'sub') + mode) + nfs_call(10, root + text(b's') + unset + text(b'../secret')) +
        nfs_call(11, root + text(b'p') + words(7) + mode) + nfs_call(11, root + text(b'n') + words(4) + mode + words(1, 3)))
    put('share', 'change', nfs_call(2, file + words(1, 0o600, 0, 0, 1, 0, 9, 1, 2, 1, 1) + words(0)) +
        nfs_call(14, root + text(b'dir') + root + text(b'moved')) + nfs_call(7, below + words(0, 0, 1, 2) + text(b'y')) +
        nfs_call(15, file + root + text(b'hard')) + nfs_call(15, link + root + text(b'hard2')) +
        nfs_call(12, root + text(b'file')) + nfs_call(13, root + text(b'moved')))
    put('share', 'outside', nfs_call(14, root + text(b'file') + root + text(b'../secret')) +
        nfs_call(12, root + text(b'../secret')) + nfs_call(15, file + root + text(b'../hard')) +
        nfs_call(8, root + text(b'link') + words(0) + mode) + nfs_call(2, link + words(1, 0o777, 0, 0, 1, 0, 0, 0, 0) + words(0)))
    put('share', 'mount', nfs_call(0x81, text(b'/data')) + nfs_call(0x85, b'') + nfs_call(0x82, b'') +
        nfs_call(0xff, words(1, 0, 2, 100003, 3, 0, 0, 0, 0, 0)) + nfs_call(0xff, words(1, 0, 2, 100227, 3, 0, 0, 0, 0, 0)))


def main():
    hypercall()
    blkif()
    vbd()
    ioapic()
    netif()
    share()
    xenstore()
    image()
    kernel()
    api()


if __name__ == '__main__':
    main()
