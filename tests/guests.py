#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nidra-guests with a nidra that only pretends: what is done in which order, and what happens to images when
something fails. With real guests it is the lab's scenario guest:guests."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = sys.argv.pop(1)

# A machine is a file that holds its state, an image a copy of it. VERB-NAME in the folder "fails" makes that fail,
# "hangs" makes it wait for SIGINT, "lies" makes it fail after it was done.
FAKE = r'''#!/bin/bash
cd "$FAKE"
echo "$*" >>calls
verb=$1 name=${@: -1}
case $verb in
save) name=${@: -2:1} image=${@: -1} ;;
restore) image=$name name=$(basename "$name" | sed 's/\.nidra.*//') ;;
esac
[ ! -e "fails/$verb-$name" ] || { echo "nidra: $name: failed on purpose" >&2; exit 1; }
if [ -e "hangs/$verb-$name" ]; then
	trap 'exit 130' INT
	while sleep 0.1; do :; done
fi
there() { [ -e "machines/$name" ] || { echo "nidra: there is no machine named $name" >&2; exit 1; }; }
case $verb in
list)
	echo "name state vcpus memory time"
	for m in machines/*; do [ ! -e "$m" ] || echo "$(basename "$m") $(cat "$m") 1 64 0.1"; done
	;;
info) there; echo "state            $(cat "machines/$name")" ;;
save)
	there
	[ "$(cat "machines/$name")" != paused ] || exit 1
	echo running >"$image" && rm "machines/$name"
	;;
restore)
	[ -e "$image" ] || exit 1
	[ ! -e "machines/$name" ] || exit 1
	cp "$image" "machines/$name"
	[[ "$*" != *--paused* ]] || echo paused >"machines/$name"
	echo "$name" >>restored
	;;
shutdown) there; rm "machines/$name" ;;
unpause | resume) there; echo running >"machines/$name" ;;
check) [ -e checked ] || { touch checked; exit 1; } ;; # not at once
suspend) there; echo suspended >"machines/$name" ;;
*) exit 2 ;;
esac
[ ! -e "lies/$verb-$name" ]
'''


class Guests(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = pathlib.Path(folder.name)
        for name in ('machines', 'fails', 'hangs', 'lies'):
            (self.top / name).mkdir()
        self.images = self.top / 'images'
        nidra = self.top / 'nidra'
        nidra.write_text(FAKE)
        nidra.chmod(0o755)
        self.settings = {'IMAGES': self.images, 'PARALLEL': 1}

    def machines(self, **states):
        for name, state in states.items():
            (self.top / 'machines' / name).write_text(state + '\n')

    def there(self):
        return {p.name: p.read_text().strip() for p in sorted((self.top / 'machines').iterdir())}

    def left(self):
        return sorted(p.name for p in self.images.iterdir())

    def knob(self, *names):
        for name in names:
            (self.top / name).touch()

    def calls(self, *verbs):
        return [line for line in (self.top / 'calls').read_text().splitlines() if line.split()[0] in verbs]

    def run_script(self, command, status=0, **settings):
        config = self.top / 'config'
        config.write_text(''.join(f"{k}='{v}'\n" for k, v in {**self.settings, **settings}.items()))
        env = dict(os.environ, NIDRA=str(self.top / 'nidra'), FAKE=str(self.top), NIDRA_GUESTS_CONFIG=str(config))
        r = subprocess.run([SCRIPT, command], env=env, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(r.returncode, status, r.stdout + r.stderr)
        return r.stdout

    def test_who_was_there_is_there_again_and_no_image_is_left(self):
        self.machines(web='running', db='running')
        self.run_script('stop')
        self.assertEqual((self.there(), self.left()), ({}, ['db.nidra', 'web.nidra']))
        self.run_script('start')
        self.assertEqual((self.there(), self.left()), ({'db': 'running', 'web': 'running'}, []))

    def test_several_at_once(self):
        self.machines(**{f'm{i}': 'running' for i in range(7)})
        self.run_script('stop', PARALLEL=3)
        self.assertEqual(len(self.left()), 7)
        self.run_script('start', PARALLEL=3)
        self.assertEqual(len(self.there()), 7)

    def test_how_they_were_they_are_again(self):
        self.machines(p='paused', s='suspended', e='ended')
        self.run_script('stop')
        self.run_script('start')
        self.assertEqual(self.there(), {'e': 'ended', 'p': 'paused', 's': 'suspended'})
        self.assertEqual(self.left(), [])

    def test_who_cannot_be_saved_is_shut_down_and_the_others_are_saved(self):
        self.machines(a='running', b='running')
        self.knob('fails/save-a')
        self.assertIn('a: not saved: nidra: a: failed on purpose', self.run_script('stop'))
        self.assertEqual((self.there(), self.left()), ({}, ['b.nidra']))
        self.assertEqual(self.calls('shutdown'), ['shutdown a'])

    def test_or_is_left_if_so_configured(self):
        self.machines(a='running', b='running')
        self.knob('fails/save-a')
        self.run_script('stop', status=1, ON_SAVE_FAILURE='leave')
        self.assertEqual((self.there(), self.left()), ({'a': 'running'}, ['b.nidra']))

    def test_a_save_that_never_ends_is_cancelled(self):
        self.machines(a='running')
        self.knob('hangs/save-a')
        self.assertIn('no answer within 1 s', self.run_script('stop', SAVE_TIMEOUT=1))
        self.assertEqual(self.calls('shutdown'), ['shutdown a'])

    def test_an_image_that_is_there_counts_for_more_than_a_status(self):
        self.machines(a='running')
        self.knob('lies/save-a')
        self.run_script('stop')
        self.assertEqual((self.left(), self.calls('shutdown')), (['a.nidra'], []))

    def test_who_cannot_be_restored_keeps_its_image_and_is_tried_again(self):
        self.machines(a='running', b='running')
        self.run_script('stop')
        self.knob('fails/restore-a')
        self.run_script('start')
        self.assertEqual((self.there(), self.left()), ({'b': 'running'}, ['a.nidra']))
        (self.top / 'fails' / 'restore-a').unlink()
        self.run_script('start')
        self.assertEqual((self.there(), self.left()), ({'a': 'running', 'b': 'running'}, []))

    def test_an_image_whose_guest_may_have_run_is_not_restored_again(self):
        self.images.mkdir()
        (self.images / 'a.nidra.restoring').write_text('running\n')
        self.run_script('start')
        self.run_script('start')
        self.assertEqual((self.there(), self.left()), ({}, ['a.nidra.kept-1']))

    def test_nor_is_one_whose_restore_was_wrongly_said_to_have_failed(self):
        self.machines(a='running')
        self.run_script('stop')
        self.knob('lies/restore-a')
        self.run_script('start')
        self.assertEqual((self.there(), self.left()), ({'a': 'running'}, ['a.nidra.kept-1']))
        (self.top / 'machines' / 'a').unlink()
        self.run_script('start')
        self.assertEqual(self.there(), {})

    def test_one_that_is_there_already_is_not_restored(self):
        self.machines(a='running')
        self.run_script('stop')
        self.machines(a='running')
        self.run_script('start')
        self.assertFalse((self.top / 'restored').exists())
        self.assertEqual(self.left(), ['a.nidra'])

    def test_an_older_image_is_not_replaced(self):
        self.images.mkdir()
        (self.images / 'a.nidra').write_text('old\n')
        self.machines(a='running')
        self.run_script('stop')
        self.assertEqual(self.left(), ['a.nidra', 'a.nidra.kept-1'])
        self.assertEqual((self.images / 'a.nidra.kept-1').read_text(), 'old\n')

    def test_shut_down_instead(self):
        self.machines(a='running', s='suspended')
        self.run_script('stop', ON_SHUTDOWN='shutdown')
        self.assertEqual(self.there(), {})
        self.assertEqual(self.calls('resume', 'shutdown', 'save'), ['shutdown a', 'resume s', 'shutdown s'])

    def test_nothing_at_all_if_so_configured(self):
        self.machines(a='running')
        self.run_script('stop', ON_SHUTDOWN='leave')
        self.assertEqual(self.there(), {'a': 'running'})
        self.run_script('stop')
        self.run_script('start', ON_BOOT='leave')
        self.assertEqual((self.there(), self.left()), ({}, ['a.nidra']))

    def test_a_list_that_cannot_be_had_is_not_an_empty_one(self):
        self.machines(a='running')
        self.knob('fails/list-list')
        self.run_script('stop', status=1)

    def test_nobody_there_is_no_failure(self):
        self.run_script('stop')
        self.assertEqual(self.left(), [])

    def test_flags_reach_nidra(self):
        self.machines(a='running')
        self.run_script('stop', SAVE_FLAGS='--compress lz4')
        self.run_script('start', RESTORE_FLAGS='--transparent')
        self.assertEqual(self.calls('save', 'restore'), [
            f'save --compress lz4 a {self.images}/a.nidra',
            f'restore --eager --transparent {self.images}/a.nidra.restoring'])

    def test_names_are_not_patterns(self):
        self.machines(**{'a.b': 'running', 'acb': 'running'})
        self.knob('fails/save-acb')
        self.run_script('stop', status=1, ON_SAVE_FAILURE='leave')
        self.assertEqual((self.there(), self.left()), ({'acb': 'running'}, ['a.b.nidra']))


if __name__ == '__main__':
    unittest.main()
