"""Every module can be imported where Python has no POSIX: on Windows."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import builtins, importlib, multiprocessing, os, pkgutil, signal, sys, traceback
import hydra, matplotlib.figure, plotly.offline, pytorch_lightning, rich.table, scipy.stats
import timm, torch, torchvision, yaml

import ghostlab

MISSING = {"resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix", "readline", "curses"}
plain = builtins.__import__

def refusing(name, globals=None, *more):
    inside = str((globals or {}).get("__name__")).partition(".")[0] == "ghostlab"
    if inside and name.partition(".")[0] in MISSING:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)
    return plain(name, globals, *more)

builtins.__import__ = refusing
context = multiprocessing.get_context

def only_spawn(method=None):
    if method in ("fork", "forkserver"):
        raise ValueError(f"cannot find context for {method!r}")
    return context(method)

multiprocessing.get_context = only_spawn
for module, names in ((signal, "SIGKILL SIGUSR1 SIGUSR2 SIGHUP SIGALRM SIGQUIT alarm pthread_sigmask"),
                      (os, "fork geteuid getuid sched_getaffinity killpg setsid uname nice")):
    for name in names.split():
        delattr(module, name)
names = [found.name for found in pkgutil.walk_packages(ghostlab.__path__, "ghostlab.")]
assert len(names) > 200
for name in names:
    try:
        importlib.import_module(name)
    except Exception as error:
        if "hydra_plugins" in str(error) or getattr(error, "name", "") in ("optuna", "torchcam"):
            continue  # an extra that is not installed
        print(name, traceback.format_exc().splitlines()[-1])
sys.stdout.flush()
os._exit(0)
"""


def test_no_module_needs_posix_to_be_imported() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.returncode) == ("", 0), done.stdout + done.stderr
