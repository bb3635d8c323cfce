"""What is run on a machine to start, follow, list and end jobs: plain shell, for whatever image is there. Pure.

A job has a folder, ``~/.vastnb/jobs/TOKEN``:

* ``command``: what it runs; ``out``, ``err``: all that it printed; ``began``: when, in seconds since 1970;
* ``keeper``: the process that waits for it; ``pid``: its own, which leads its process group;
* ``end``: ``-`` until it ends, then exit status and time. It is overwritten in place: on a full disk no new file can be made;
* ``stopped``: there if it was told to end.

The folder is made once, by whoever is first: the same start sent again, because nobody knew whether it arrived, starts nothing.
What is forgotten leaves its empty folder behind for an hour: a start that was under way all the while finds it, too.
"""

from __future__ import annotations

import shlex

__all__ = ["NOT_KEPT", "begin", "follow", "forget", "listing", "stop", "tail"]

NOT_KEPT = 73
"""Exit status of `begin` where the job's folder could not be written."""
_HERE = 'd="$HOME/.vastnb/jobs/{token}"\n'
_BEGIN = """
if mkdir -p "${{d%/*}}" && mkdir "$d" 2>/dev/null; then
  find "${{d%/*}}" -mindepth 1 -maxdepth 1 -mmin +60 -exec rmdir {{}} + 2>/dev/null
  mask=$(umask)
  umask 077
  if printf '%s\\n' {command} >"$d/command" && : >"$d/out" && : >"$d/err" && date +%s >"$d/began" &&
    printf -- '-%31s\\n' '' >"$d/end"; then
    umask "$mask"
    away=$(command -v setsid || :)
    $away sh -c {keeper} vastnb-keeper "$d" {folder} </dev/null >/dev/null 2>&1 &
  else
    rm -rf "$d"
  fi
fi
[ -d "$d" ] || {{ echo "the job's folder $d cannot be written: is the disk full?" >&2; exit {not_kept}; }}
"""
_KEEPER = """
d=$1
trap '' HUP
echo $$ >"$d/keeper"
cd "$2" || { echo "there is no folder $2" >"$d/err"; printf '%-8s%-24s\\n' 1 "$(date +%s)" 1<>"$d/end"; exit; }
shell=$(command -v bash || echo sh)
if away=$(command -v setsid); then :; else set -m; fi
$away "$shell" "$d/command" </dev/null >"$d/out" 2>"$d/err" &
echo $! >"$d/pid"
wait $!
printf '%-8s%-24s\\n' $? "$(date +%s)" 1<>"$d/end"
"""
_LIVES = """
lives() {{
  k=$(cat "$d/keeper" 2>/dev/null) || return 1
  if [ -d /proc/self ]; then grep -q {token} "/proc/$k/cmdline" 2>/dev/null; else kill -0 "$k" 2>/dev/null; fi
}}
"""
_FOLLOW = """
o={out} e={err} naps=0
send() {{
  n=$(($(wc -c <"$d/$2") - $3))
  [ $n -gt 0 ] || return 1
  [ $n -le {most} ] || n={most}
  printf '%s %d\\n' $1 $n
  tail -c +$(($3 + 1)) "$d/$2" | head -c $n
}}
while [ -d "$d" ]; do
  end=$(cat "$d/end" 2>/dev/null)
  if send o out $o; then o=$((o + n)) naps=0; continue; fi
  if send e err $e; then e=$((e + n)) naps=0; continue; fi
  case $end in [0-9]*) printf 'x %s\\n' "$end"; read -r told && [ "$told" = taken ] && rm -f "$d"/*; exit 0;; esac
  naps=$((naps + 1))
  if [ $((naps % 20)) -eq 0 ]; then
    echo h
    lives || [ "$(cat "$d/end")" != "$end" ] || {{ echo 'x lost'; exit 0; }}
  fi
  if [ $naps -lt 10 ]; then sleep 0.02; else sleep 0.1; fi
done
echo 'x gone'
"""
_STOP = """
: >"$d/stopped"
for signal in TERM KILL; do
  tries=0
  while [ $tries -lt {tries} ]; do
    case $(cat "$d/end" 2>/dev/null) in [0-9]*) exit 0;; esac
    lives || exit 0
    p=$(cat "$d/pid" 2>/dev/null) && [ $((tries % 20)) -eq 0 ] && kill -s $signal "-$p" 2>/dev/null
    sleep 0.1
    tries=$((tries + 1))
  done
done
exit 1
"""
_LIST = """
printf '\\036'
ls -tr "$HOME"/.vastnb/jobs/*/began 2>/dev/null | while read -r d; do
  d=${{d%/began}}
  [ -f "$d/end" ] || continue
  end=$(cat "$d/end")
  lives && alive=1 || alive=0
  [ -f "$d/stopped" ] && stopped=1 || stopped=0
  printf '%s\\037%s\\037%s\\037%s\\037%s\\037%s\\037%s\\037' "${{d##*/}}" "$(cat "$d/began")" "$end" $alive $stopped \
    $(($(wc -c <"$d/out"))) $(($(wc -c <"$d/err")))
  head -c {most} "$d/command" | tr -d '\\036\\037'
  printf '\\036'
done
"""
_MOST_CHUNK = 262_144
_MOST_COMMAND = 2_000


def begin(token: str, command: str, folder: str) -> str:
    """Start `command` as the job `token`, in `folder`, unless it was started before."""
    words = {"command": shlex.quote(command), "keeper": shlex.quote(_KEEPER), "folder": shlex.quote(folder)}
    return _HERE.format(token=token) + _BEGIN.format(**words, not_kept=NOT_KEPT)


def follow(token: str, out: int, err: int) -> str:
    """Send what a job prints, from these bytes on, until it ends.

    Lines ``o N`` and ``e N`` come before N bytes of its output and its errors, ``h`` shows that the connection lives, ``x``
    says how it ended. A line ``taken`` in answer to that removes what is kept of the job.
    """
    lives = _LIVES.format(token=token)
    return _HERE.format(token=token) + lives + _FOLLOW.format(out=out, err=err, most=_MOST_CHUNK)


def stop(token: str, grace_s: float) -> str:
    """End a job's process group, hard if it does not within its grace."""
    return _HERE.format(token=token) + _LIVES.format(token=token) + _STOP.format(tries=max(1, round(10 * grace_s)))


def listing() -> str:
    """One record for each job, behind whatever the shell says first: fields and records end with the separators of ASCII."""
    return _LIVES.format(token='"${d##*/}"') + _LIST.format(most=_MOST_COMMAND)  # noqa: S106 a name


def tail(token: str, stream: str, lines: int) -> str:
    """The last lines of ``out`` or ``err``."""
    return _HERE.format(token=token) + f'tail -n {int(lines)} "$d/{stream}"\n'


def forget(token: str) -> str:
    """Remove what is kept of a job."""
    return _HERE.format(token=token) + 'rm -f "$d"/*\n'
