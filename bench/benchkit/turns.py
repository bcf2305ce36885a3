# SPDX-License-Identifier: Apache-2.0
"""The same work by several machines in turns, and a table of it."""
import re
import statistics
import sys
import time


def read_figures(program, log, seconds=600):
    """What a guest's program said: lines "PROGRAM: NAME NUMBER...", until "PROGRAM: done"."""
    end = time.monotonic() + seconds
    text = ""
    while time.monotonic() < end:
        try:
            with open(log, encoding="utf-8", errors="replace") as f:
                text = f.read()
        except FileNotFoundError:
            pass
        if f"{program}: done" in text:
            return {m[1]: float(m[2]) for m in re.finditer(rf"^{program}: (\S+) ([\d.]+)", text, re.M)}
        time.sleep(0.2)
    sys.exit(f"bench: the guest did not come to its end: {text[-600:]}")


def table(machines, rounds, run):
    """
    @machines by name, the first one is ours; @run measures one of them. Medians, and the ratio of ours to each
    other one (more is better).
    """
    got = {name: [] for name in machines}
    for turn in range(rounds):
        for name in list(machines)[::-1 if turn % 2 else 1]:
            got[name].append(run(machines[name]))
    ours, *others = machines
    lines = [f"| work | {ours}, 1/s |" + "".join(f" {o}, 1/s | ratio | ratios of rounds |" for o in others),
             "|---|---|" + "---|---|---|" * len(others)]
    for kind in got[ours][0]:
        mine = [r[kind] for r in got[ours]]
        line = f"| {kind} | {statistics.median(mine):.0f} |"
        for other in others:
            theirs = [r[kind] for r in got[other]]
            ratios = sorted(a / b for a, b in zip(mine, theirs))
            line += (f" {statistics.median(theirs):.0f} | {statistics.median(ratios):.2f} |"
                     f" {ratios[0]:.2f} to {ratios[-1]:.2f} |")
        lines.append(line)
    return "\n".join(lines)
