#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nidra-bootdisk over disks with filesystems: tests/bootdisk.py PROGRAM. Exits with 77 without mke2fs.

What it says of good disks, and that altered ones end it in time, with an answer or without.
"""
import os
import pathlib
import random
import select
import shutil
import struct
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[1]
MKE2FS = shutil.which('mke2fs', path=os.environ.get('PATH', '') + ':/usr/sbin:/sbin')
ALTERED = 150
GRUB = "menuentry 'x' {\n linux /boot/vmlinuz-6.1 root=/dev/xvda1 ro\n initrd /boot/initrd.img-6.1\n}\n"
KERNEL = bytes(range(256)) * 1000
INITRD = b'initrd' * 5000


def run(disk):
    """Its answer, kernel and initrd, as nidra-monitor calls it."""
    with tempfile.TemporaryFile() as kernel, tempfile.TemporaryFile() as initrd, open(disk, 'rb') as file:
        for fd, source in ((3, file), (4, kernel), (5, initrd)):
            os.dup2(source.fileno(), fd)
        done = subprocess.run([PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(3, 4, 5),
                              timeout=90, check=False)
        kernel.seek(0)
        initrd.seek(0)
        return done.stdout.decode(), kernel.read(), initrd.read()


def make(folder, files, name='disk', size='8M', kind='ext4', links=()):
    root = folder / (name + '.root')
    for path, data in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
    root.mkdir(exist_ok=True)
    for path, target in links:
        (root / path).symlink_to(target)
    disk = folder / name
    subprocess.run([MKE2FS, '-q', '-F', '-t', kind, '-U', '01234567-89ab-cdef-0123-456789abcdef', '-d', root, disk, size],
                   check=True, stdout=subprocess.DEVNULL)
    return disk


def partitioned(folder, filesystem, at=2048):
    """The same as the second partition of a disk, behind one that is empty."""
    data = filesystem.read_bytes()
    mbr = bytearray(512)
    mbr[450], mbr[466] = 0x83, 0x83
    struct.pack_into('<II', mbr, 454, 1, 100)
    struct.pack_into('<II', mbr, 470, at, len(data) // 512)
    mbr[510:] = b'\x55\xaa'
    disk = folder / 'partitioned'
    disk.write_bytes(bytes(mbr) + bytes((at - 1) * 512) + data)
    return disk


def equal(got, want):
    if got != want:
        sys.exit(f'bootdisk.py: {got!r:.300}\n  is not {want!r:.300}')


def good(folder):
    files = {'boot/vmlinuz-6.1': KERNEL, 'boot/initrd.img-6.1': INITRD, 'boot/grub/grub.cfg': GRUB}
    answer = 'ok root=/dev/xvda1 ro console=hvc0\n'
    for kind in ('ext2', 'ext3', 'ext4'):
        disk = make(folder, files, kind, kind=kind)
        equal(run(disk), (answer, KERNEL, INITRD))
    equal(run(partitioned(folder, disk)), (answer, KERNEL, INITRD))
    # by links, as Debian has them
    links = make(folder, {**files, 'boot/grub/grub.cfg': 'menuentry x {\nlinux /vmlinuz console=hvc0\n}'}, 'links',
                 links=[('vmlinuz', 'boot/vmlinuz-6.1')])
    equal(run(links), ('ok console=hvc0\n', KERNEL, b''))
    # a configuration whose paths are relative to it, in a filesystem for /boot alone
    conf = make(folder, {'extlinux/extlinux.conf': 'label l\nlinux ../vmlinuz\nappend root=x\n', 'vmlinuz': KERNEL}, 'conf')
    equal(run(conf), ('ok root=x console=hvc0\n', KERNEL, b''))
    # no configuration: the newest, with its own initrd
    names = make(folder, {'boot/vmlinuz-6.9': b'old', 'boot/vmlinuz-6.10': b'new', 'boot/initrd.img-6.10': INITRD,
                          'boot/initrd.img-6.9': b'old'}, 'names')
    equal(run(names), ('ok root=UUID=01234567-89ab-cdef-0123-456789abcdef ro console=hvc0\n', b'new', INITRD))
    return disk


def refused(folder, disk):
    empty = folder / 'empty'
    empty.write_bytes(bytes(1 << 20))
    equal(run(empty)[0], 'no no partition of it has an ext2, ext3 or ext4 filesystem\n')
    equal(run(make(folder, {}, 'nothing'))[0], "no neither a boot loader's configuration nor /boot/vmlinuz-*\n")
    gone = make(folder, {'boot/grub/grub.cfg': GRUB}, 'gone')
    equal(run(gone)[0], 'no /boot/vmlinuz-6.1 is not there\n')
    links = make(folder, {'boot/grub/grub.cfg': GRUB}, 'circle', links=[('boot/vmlinuz-6.1', 'vmlinuz-6.1')])
    equal(run(links)[0][:3], 'no ')
    large = make(folder, {'boot/grub/grub.cfg': '#' * (1 << 20) + '\n' + GRUB}, 'large')
    equal(run(large)[0], f'no /boot/grub/grub.cfg has {(1 << 20) + 1 + len(GRUB)} bytes; 1048576 are possible\n')
    huge = folder / 'huge.root' / 'boot' / 'vmlinuz-6.1'
    huge.parent.mkdir(parents=True)
    with open(huge, 'wb') as f:
        f.truncate((256 << 20) + 1)
    huge = make(folder, {'boot/grub/grub.cfg': GRUB}, 'huge')
    equal(run(huge)[0], 'no /boot/vmlinuz-6.1 has 268435457 bytes; 268435456 are possible\n')
    short = folder / 'short'
    short.write_bytes(disk.read_bytes()[:200000])
    equal(run(short)[0][:2] in ('no', ''), True)


def confined(disk):
    """Caught while it waits with the kernel for a reader that does not come."""
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as initrd, open(disk, 'rb') as file:
        for fd, source in ((3, file.fileno()), (4, writer), (5, initrd.fileno())):
            os.dup2(source, fd)
        with subprocess.Popen([PROGRAM], stdout=subprocess.DEVNULL, pass_fds=(3, 4, 5)) as program:
            if not select.select([reader], [], [], 10)[0]:
                sys.exit('bootdisk.py: it writes no kernel')
            status = pathlib.Path(f'/proc/{program.pid}/status').read_text(encoding='ascii')
            program.kill()
    os.close(reader)
    os.close(writer)
    said = {line.split()[0]: line.split()[1] for line in status.splitlines() if len(line.split()) == 2}
    if b'__asan_init' not in pathlib.Path(PROGRAM).read_bytes():  # those are not
        equal((said['Seccomp:'], said['NoNewPrivs:']), ('2', '1'))


def altered(folder, disk):
    """Bytes of the metadata, by a fixed seed; no checksums, so that the library believes more."""
    original = disk.read_bytes()
    rng = random.Random(4)
    target = folder / 'altered'
    answers = {'ok': 0, 'no': 0, '': 0}
    blocks = [i for i in range(0, len(original), 1024) if any(original[i:i + 1024]) and i < 1 << 20]
    for _ in range(ALTERED):
        data = bytearray(original)
        for _ in range(rng.choice((4, 64, 512))):
            data[rng.choice(blocks[:40]) + rng.randrange(1024)] = rng.choice((0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)))
        target.write_bytes(data)
        answers[run(target)[0][:2]] += 1
    return answers


def main():
    if not MKE2FS:
        print('mke2fs is missing')
        return 77
    while os.open('/dev/null', os.O_RDWR) < 5:  # so that no file gets one of the program's numbers
        pass
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        disk = good(folder)
        refused(folder, disk)
        confined(folder / 'ext4')
        answers = altered(folder, folder / 'ext2')
    print(f'bootdisk: {answers["ok"]} altered disks taken, {answers["no"]} refused, {answers[""]} ended it')
    return 0


sys.exit(main())
