"""The commands lab/run, lab/up, lab/exec, lab/down, lab/wake, lab/status."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from . import paths, remote, sync
from .host import Host, LabDied, LabError

TIMED_OUT = 124
DIED = 125


def main(verb):
    """Run one verb; the process ends with its status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _frame: sys.exit(128 + n))
    signal.signal(signal.SIGINT, signal.default_int_handler)    # even if a script ignores it
    try:
        status = VERBS[verb](sys.argv[1:])
    except BrokenPipeError:
        status = 128 + signal.SIGPIPE
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (LabError, OSError, LookupError, ValueError, subprocess.CalledProcessError) as error:
        print(f"lab/{verb}: {error}", file=sys.stderr)
        status = DIED
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


# ---- options ----

def split(arguments):
    """Our options, and the command after `--`."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1:]


def named(verb, **more):
    """A parser that knows `--name`."""
    parser = argparse.ArgumentParser(prog=f"lab/{verb}", **more)
    parser.add_argument("--name", default="default", help="which lab (default: default)")
    return parser


def add_host_options(parser):
    parser.add_argument("--kernel", choices=("6.1", "6.12"), default="6.12",
                        help="kernel of the lab host (default 6.12)")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--memory", type=int, default=4096, metavar="MIB")
    parser.add_argument("--share", action="append", default=[], type=folder, metavar="DIR",
                        help="keep this folder visible and fresh, wherever it is")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="folder whose content comes back ($LAB_OUT; default build/lab-out)")
    parser.add_argument("--sleepable", action="store_true",
                        help="a lab host that survives `echo mem >/sys/power/state`")
    parser.add_argument("--xen", action="store_true",
                        help="a lab host that is dom0 of Xen, instead of having KVM")
    parser.add_argument("--program", action="append", default=[], metavar="NAME",
                        help="with --sleepable: a program of this machine to take along")
    parser.add_argument("--timeout", type=float, default=600, metavar="S",
                        help="end what takes longer (default 600)")


def folder(text):
    path = Path(text).absolute()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return path


def complete(options):
    """Fill in what depends on other options."""
    if options.xen and options.sleepable:
        raise LabError("a dom0 of Xen does not sleep")
    options.out = (options.out or paths.build() / "lab-out").absolute()
    options.out.mkdir(parents=True, exist_ok=True)
    options.share = list(dict.fromkeys(
        p for p in (paths.PROJECT, paths.build(), *options.share) if p.is_dir()))


# ---- a lab's life ----

def create(name, options, dies_with_us):
    """Start a lab host and wait until it answers."""
    host = Host(name)
    if host.pid():
        raise LabError(f"a lab '{name}' is already up")
    shutil.rmtree(host.folder, ignore_errors=True)
    host.folder.mkdir()
    try:
        host.remember(name=name, build=str(paths.build()), out=str(options.out),
                      sleepable=options.sleepable)
        sync.begin(host, options.share)
        host.start(options, dies_with_us)
        remote.Connection(host, time.monotonic() + options.timeout).close()
    except BaseException as failure:
        explain(host, failure)
        host.stop()
        raise
    return host


def sweep_after_us(scratch):
    """Have a folder removed when this process ends, even if it is killed."""
    listen, _held = os.pipe()   # its other end closes with us
    subprocess.Popen(["sh", "-c", 'read _; rm -rf -- "$1"', "sh", scratch], stdin=listen,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                     start_new_session=True)
    os.close(listen)


def explain(host, failure):
    """Show the console's last lines if that is what the failure is about."""
    if isinstance(failure, (LabDied, remote.TimedOut)):
        print(f"--- last console lines of lab '{host.name}' ---\n{host.last_words()}\n---",
              file=sys.stderr)
        out = Path(host.settings()["out"])
        shutil.copy(host.console, out / "lab-console.log")


def execute(host, command, deadline):
    """Run a command in a lab that is up; its status."""
    try:
        settings = host.settings()
        sync.update(host, lambda command, stdin: assist(host, command, deadline, stdin=stdin))
        stdin = sys.stdin.fileno() if sys.stdin and not sys.stdin.closed else None
        status = remote.run(host, command, cwd=os.getcwd(), deadline=deadline, stdin=stdin)
        if settings["sleepable"]:
            sync.fetch(host, lambda command, out: assist(host, command, deadline, stdout=out))
        return status
    except (remote.TimedOut, LabDied) as failure:
        explain(host, failure)
        print(f"lab: {failure}", file=sys.stderr)
        return TIMED_OUT if isinstance(failure, remote.TimedOut) else DIED


def assist(host, command, deadline, **streams):
    """Run a command of our own in a lab; what it complains of matters if it fails."""
    with open(os.memfd_create("complaints"), "r+b") as complaints:
        if remote.run(host, command, cwd="/", deadline=deadline,
                      stderr=complaints.fileno(), **streams):
            complaints.seek(0)
            raise LabError(f"{command[0]} in the lab: {complaints.read().decode().strip()}")


# ---- verbs ----

def run(arguments):
    ours, command = split(arguments)
    parser = argparse.ArgumentParser(prog="lab/run", usage="%(prog)s [options] -- COMMAND...")
    add_host_options(parser)
    options = parser.parse_args(ours)
    if not command:
        parser.error("no command")
    complete(options)
    deadline = time.monotonic() + options.timeout
    name = f"run-{os.getpid()}"
    sweep_after_us(Host(name).folder)
    host = create(name, options, dies_with_us=True)
    try:
        return execute(host, command, deadline)
    finally:
        host.stop()


def up(arguments):
    parser = named("up")
    add_host_options(parser)
    options = parser.parse_args(arguments)
    complete(options)
    create(options.name, options, dies_with_us=False)
    return 0


def exec_(arguments):
    ours, command = split(arguments)
    parser = named("exec", usage="%(prog)s [options] -- COMMAND...")
    parser.add_argument("--timeout", type=float, default=600, metavar="S")
    options = parser.parse_args(ours)
    if not command:
        parser.error("no command")
    return execute(Host(options.name), command, time.monotonic() + options.timeout)


def down(arguments):
    Host(named("down").parse_args(arguments).name).stop()
    return 0


def wake(arguments):
    parser = named("wake")
    parser.add_argument("--wait", type=float, default=0, metavar="S",
                        help="wait so long for it to fall asleep")
    options = parser.parse_args(arguments)
    host = Host(options.name)
    host.settings()
    deadline = time.monotonic() + options.wait
    while (status := host.status()) != "suspended":
        if time.monotonic() > deadline or status == "down":
            raise LabError(f"lab '{host.name}' does not sleep, it is {status}")
        time.sleep(0.1)
    host.qmp("system_wakeup")
    return 0


def status(arguments):
    parser = argparse.ArgumentParser(prog="lab/status")
    parser.add_argument("--name", help="which lab (default: a line for each)")
    name = parser.parse_args(arguments).name
    if name:
        print(Host(name).status())
    else:
        for path in sorted(paths.labs().iterdir()):
            print(f"{path.name}\t{Host(path.name).status()}")
    return 0


VERBS = {"run": run, "up": up, "exec": exec_, "down": down, "wake": wake, "status": status}
