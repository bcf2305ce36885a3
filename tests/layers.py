#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hold the rule of layers against the #includes of src/.

    layers.py SRC           check; exit 1 and FILE:LINE for what breaks the rule
    layers.py --self-test   check this checker against a tree that breaks every rule

Functions over 60 lines and files over 800 are told, but fail nothing.
"""
import os
import re
import sys
import tempfile

# A layer (a folder of src/, bottom to top) and those that it may include, besides itself.
# A row names only rows above it, so there can be no cycle.
LAYERS = {
    'base': '',
    'bootdisk': 'base',          # a program of its own: bytes of a disk in, files out
    'share': 'base',             # as well: requests of a guest in, what is done to one folder out
    'pm': 'base',                # the engine runs in a unit test on any machine
    'kvm': 'base',
    'boot': 'base kvm',
    'xen/store': 'base',         # pure: nodes, transactions, wire
    'xen': 'base kvm xen/store',
    'device': 'base kvm xen xen/store',
    'image': 'base',             # the format outlives every device; parsers see bytes only
    'guest': 'base share pm kvm boot xen xen/store device image',
    'sleep': 'base pm image guest xen xen/store kvm device',
    'move': 'base pm image guest xen xen/store kvm device sleep',
    'api': 'base pm guest sleep move',
    'host': 'base pm api',       # speaks to machines as any client does
    'monitor': 'base pm kvm boot xen xen/store device image guest sleep move api',
    'cli': 'base api image',     # knows no guest, only the socket
}

# Not even through another header.
NEVER_REACHES = {'cli': ('kvm', 'xen', 'xen/store', 'device', 'guest')}

# Headers of others, and the folders that may use them: (pattern, allowed layers, what it is).
FOREIGN = [
    (re.compile(r'^linux/kvm\.h$'), ('kvm',), 'KVM'),
    (re.compile(r'^xen/'), ('xen', 'xen/store', 'device', 'boot'), "Xen's public headers"),
]

INCLUDE = re.compile(r'\s*#\s*include\s*(["<])([^">]+)[">]')
FUNCTION_LINES = 60
FILE_LINES = 800


def layer_of(path):
    """Layer of a path below src/, or None: 'xen/store/tree.c' -> 'xen/store'."""
    parts = path.split('/')
    for depth in (2, 1):
        name = '/'.join(parts[:depth])
        if len(parts) > depth and name in LAYERS:
            return name
    return None


class Tree:
    def __init__(self, src):
        self.src = src
        self.lines = {}     # path below src: lines
        self.includes = {}  # path below src: [(line number, quote, name)]
        for folder, _, names in os.walk(src):
            for name in names:
                if name.endswith(('.c', '.h')):
                    self.read(os.path.relpath(os.path.join(folder, name), src))

    def read(self, path):
        with open(os.path.join(self.src, path), encoding='utf-8') as f:
            self.lines[path] = f.read().split('\n')
        found = ((n, INCLUDE.match(line)) for n, line in enumerate(self.lines[path], 1))
        self.includes[path] = [(n, m[1], m[2]) for n, m in found if m]

    def resolve(self, path, name):
        """The file of src/ that path means by #include "name", or None."""
        beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
        return next((p for p in (name, beside) if p in self.lines), None)

    def way_to(self, path, layers, seen):
        """Files from path to one of these layers through quoted includes, or None."""
        seen.add(path)
        for _, quote, name in self.includes[path]:
            target = self.resolve(path, name) if quote == '"' else None
            if not target or target in seen:
                continue
            way = [] if layer_of(target) in layers else self.way_to(target, layers, seen)
            if way is not None:
                return [target] + way
        return None


def check_table():
    seen = []
    for name, allowed in LAYERS.items():
        for other in allowed.split():
            if other not in seen:
                yield f'layers.py: {name} names {other}, which is not below it'
        seen.append(name)


def check_own(tree, path, layer, name):
    """#include "name" in path: a reason against it, or None."""
    target = tree.resolve(path, name)
    if not target:
        return f'"{name}" is no file of src/'
    other = layer_of(target)
    if other is None:
        return f'"{name}" is in no layer'
    if other == layer:
        return None
    if os.path.basename(target).startswith('internal'):
        return f'"{name}" is internal to {other}'
    if other not in LAYERS[layer].split():
        return f'{layer} may not include {other} ("{name}")'
    return None


def check_foreign(tree, layer, name):
    if name in tree.lines:
        return f'<{name}> is our own: write "{name}"'
    for pattern, allowed, what in FOREIGN:
        if pattern.match(name) and layer not in allowed:
            return f'{what} (<{name}>) only in {", ".join(allowed)}'
    return None


def check_file(tree, path):
    layer = layer_of(path)
    if layer is None:
        yield 1, 'is in no layer: add its folder to tests/layers.py'
        return
    for n, quote, name in tree.includes[path]:
        why = check_own(tree, path, layer, name) if quote == '"' else \
            check_foreign(tree, layer, name)
        if why:
            yield n, why
    way = tree.way_to(path, NEVER_REACHES.get(layer, ()), set())
    if way:
        yield 1, f'{layer} reaches {way[-1]} through {" -> ".join(way[:-1]) or "itself"}'


def long_functions(lines):
    """(line, name, length): in kernel style a body is between '{' and '}' in column one."""
    start = None
    for n, line in enumerate(lines, 1):
        if line == '{':
            start = n
        elif line == '}' and start:
            if n - start - 1 > FUNCTION_LINES:
                head = ' '.join(lines[max(0, start - 4):start - 1])
                name = re.findall(r'(\w+)\(', head)
                yield start, name[-1] if name else '?', n - start - 1
            start = None


def report_sizes(tree):
    for path, lines in sorted(tree.lines.items()):
        for n, name, length in long_functions(lines):
            print(f'{tree.src}/{path}:{n}: note: {name}() has {length} lines')
        if len(lines) > FILE_LINES:
            print(f'{tree.src}/{path}:1: note: has {len(lines)} lines')


def check(src):
    tree = Tree(src)
    wrong = list(check_table())
    for path in sorted(tree.lines):
        wrong += [f'{src}/{path}:{n}: {why}' for n, why in check_file(tree, path)]
    return tree, wrong


SELF_TEST = {
    'base/ok.h': '#include <stdint.h>\n',
    'base/up.c': '\n#include "pm/pm.h"\n',                      # 2: base includes pm
    'pm/pm.h': '#include "base/ok.h"\n',
    'pm/kvm.c': '#include <linux/kvm.h>\n',                     # 1: KVM outside kvm
    'kvm/machine.h': '#include <linux/kvm.h>\n',
    'kvm/internal.h': '',
    'kvm/a.c': '#include "internal.h"\n#include "kvm/internal.h"\n',
    'xen/x.h': '#include <xen/xen.h>\n#include "kvm/machine.h"\n',
    'xen/store/s.c': '#include "kvm/machine.h"\n',              # 1: store includes kvm
    'xen/priv.c': '#include "kvm/internal.h"\n',                # 1: internal
    'image/i.h': '#include <xen/xen.h>\n',                      # 1: Xen in image
    'image/j.c': '#include <base/ok.h>\n',                      # 1: quotes
    'sleep/s.h': '#include "xen/x.h"\n',
    'api/a.h': '#  include "sleep/s.h"\n',
    'cli/c.c': '#include "base/ok.h"\n#include "api/a.h"\n',    # 1: reaches xen
    'cli/d.c': '#include "nowhere.h"\n',                        # 1: no such file
    'stray/x.c': '',                                            # 1: no layer
}
SELF_TEST_WRONG = ['base/up.c:2', 'cli/c.c:1', 'cli/d.c:1', 'image/i.h:1', 'image/j.c:1',
                   'pm/kvm.c:1', 'stray/x.c:1', 'xen/priv.c:1', 'xen/store/s.c:1']


def self_test():
    with tempfile.TemporaryDirectory() as src:
        for path, text in SELF_TEST.items():
            os.makedirs(os.path.dirname(os.path.join(src, path)), exist_ok=True)
            with open(os.path.join(src, path), 'w', encoding='utf-8') as f:
                f.write(text)
        _, wrong = check(src)
        found = [w[len(src) + 1:].split(': ')[0] for w in wrong]
    body = ['int f(int a,', '      int b)', '{'] + ['\tx;'] * 61 + ['}']
    if found != SELF_TEST_WRONG or list(long_functions(body)) != [(3, 'f', 61)]:
        print('layers.py: self-test found', *wrong, sep='\n\t')
        return 1
    return 0


def main():
    if sys.argv[1:] == ['--self-test']:
        return self_test()
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    tree, wrong = check(sys.argv[1])
    report_sizes(tree)
    for line in wrong:
        print(line)
    print(f'layers: {len(tree.lines)} files, {len(wrong)} includes against the rule')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
