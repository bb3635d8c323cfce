"""What is run on a machine to find, start and end the Python of remote cells: plain shell. Pure.

A Python has a folder, ``~/.vastnb/kernels/NAME``: ``connection.json`` (ipykernel's own), ``pid``, ``program`` (what it was started
from), ``lock`` (held while it lives), ``log`` (what it says of itself) and the values that come and go. It is started detached: neither the connection nor the
kernel here ends it. ``~/.vastnb/python`` holds what it needs of ours, and ipykernel where the machine has none: the
machine's own Python is not touched.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path

from vastnb.errors import InputError
from vastnb.services.remote import parcels

__all__ = [
    "DIED",
    "GONE",
    "MODULE",
    "NO_IPYKERNEL",
    "NO_PYTHON",
    "OTHER",
    "SOURCE",
    "end",
    "install",
    "name_of",
    "reach",
]

NO_PYTHON, NO_IPYKERNEL, DIED, GONE, OTHER = 71, 72, 74, 75, 76
"""Exit statuses of `reach`: no Python there; one without ipykernel; it ended while it started; it lives no more; it was started
from another program than the one asked for."""
SOURCE = Path(parcels.__file__).read_bytes()
MODULE = f"vastnb_parcels_{hashlib.sha256(SOURCE).hexdigest()[:12]}"
"""What `parcels` is called on the machine: a Python that was begun by another vastnb has another one."""
_PLACES = ("/venv/main/bin/python", "/opt/conda/bin/python", "python3", "python")
"""Vast's own images and those of conda keep Python where ssh has no path to; a bare python3 there is the system's."""
_HAS_IPYKERNEL = (
    "import sys, importlib.util as u; sys.path.append(sys.argv[1]); sys.exit(u.find_spec('ipykernel') is None)"
)
_LAUNCH = """\
import fcntl, os, sys
lib, folder, program = sys.argv[1:4]
del sys.argv[1:4]
os.setsid()
lock = open(folder + "/lock", "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit()
if os.path.exists(folder + "/connection.json"):
    os.remove(folder + "/connection.json")
for name, text in ("program", program), ("pid", str(os.getpid())):
    with open(folder + "/" + name, "w") as file:
        file.write(text)
sys.path.append(lib)
from ipykernel.kernelapp import launch_new_instance
launch_new_instance()
"""
_HERE = 'd="$HOME/.vastnb/kernels/{name}" lib="$HOME/.vastnb/python"\n'
_LIVES = """
lives() {
  p=$(cat "$d/pid" 2>/dev/null) || return 1
  if [ -d /proc/self ]; then grep -q "$d" "/proc/$p/cmdline" 2>/dev/null; else kill -0 "$p" 2>/dev/null; fi
}
"""
_REACH = """
before=$(umask)
umask 077
mkdir -p "$d" "$lib" && cat >"$lib/{module}.$$" && mv "$lib/{module}.$$" "$lib/{module}.py" || exit 1
if lives; then
  asked={asked} program=$(cat "$d/program")
  [ -z "$asked" ] || [ "$(command -v "$asked")" = "$program" ] || {{ echo "$program"; exit {other}; }}
  echo living
elif [ {start} = 0 ]; then exit {gone}
else
  for q in {places}; do q=$(command -v "$q") && "$q" -c '' 2>/dev/null && break; q=; done
  [ -n "$q" ] || exit {no_python}
  "$q" -c {has} "$lib" || {{ echo "$q"; exit {no_ipykernel}; }}
  echo "$q"
  umask "$before"
  cd || exit 1
  "$q" -c {launch} "$lib" "$d" "$q" -f "$d/connection.json" </dev/null >"$d/log" 2>&1 &
  began=$!
fi
until lives && [ -s "$d/connection.json" ]; do
  [ -n "$began" ] && ! kill -0 "$began" 2>/dev/null && ! lives && {{ tail -n 3 "$d/log" >&2; exit {died}; }}
  sleep 0.05
done
cat "$d/connection.json"
"""
_INSTALL = """
"$1" -m pip --version >/dev/null 2>&1 || { echo "there is no pip" >&2; exit 1; }
"$1" -m pip install --quiet --disable-pip-version-check --target "$lib" ipykernel >&2
"""
_END = """
lives || { rm -rf "$d"; exit 0; }
for signal in TERM KILL; do
  kill -s $signal "-$p" 2>/dev/null
  tries=0
  while [ $tries -lt 30 ]; do lives || break 2; sleep 0.1; tries=$((tries + 1)); done
done
kill -s KILL "-$p" 2>/dev/null
lives && exit 1
rm -rf "$d"
"""


def name_of(kernel: str, notebook: str) -> str:
    """What a Python is called on the machine: by a name that was given, or one that belongs to a notebook."""
    if kernel:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,40}", kernel, re.ASCII):
            raise InputError(f"a kernel's name has letters, digits, dots and dashes, got {kernel!r}")
        return kernel
    return f"notebook-{hashlib.sha256(notebook.encode()).hexdigest()[:16]}"


def reach(name: str, *, start: bool, python: str = "") -> str:
    """Print a Python's connection file; start it before, if it does not live and `start` says so.

    Before it comes a line: ``living``, or the path of the Python that was started. `SOURCE` is its input.
    """
    asked = f'"$HOME"/{shlex.quote(python[2:])}' if python.startswith("~/") else shlex.quote(python)
    words = {"module": MODULE, "start": int(start), "places": asked if python else shlex.join(_PLACES), "asked": asked, "has": shlex.quote(_HAS_IPYKERNEL),
             "launch": shlex.quote(_LAUNCH), "no_python": NO_PYTHON, "no_ipykernel": NO_IPYKERNEL, "died": DIED, "gone": GONE,
             "other": OTHER}  # fmt: skip
    return _HERE.format(name=name) + _LIVES + _REACH.format(**words)


def install(python: str) -> str:
    """Install ipykernel for a Python of the machine, beside it."""
    return f"set -- {shlex.quote(python)}\n" + _HERE.format(name="") + _INSTALL


def end(name: str) -> str:
    """End a Python and what it started, and remove its folder."""
    return _HERE.format(name=name) + _LIVES + _END
