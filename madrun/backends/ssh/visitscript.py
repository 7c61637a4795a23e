"""What a visit asks of a host: one text of sh that needs nothing but the host's own tools, and what it answers."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_interface

_OLDEST = (3, 10)
_NEWEST_MINOR = 14
TOOLS = ("rsync", "zstd", "gzip", "tar", "git", "docker", "podman", "curl")
# sys.version_info and so on as a line of words between tabs.
_ABOUT = (
    "import sys,platform;v=sys.version_info;"
    "print(chr(9).join([sys.executable,'%d.%d'%v[:2],sys.implementation.cache_tag or '',sys.platform,"
    "platform.machine(),'-'.join(platform.libc_ver())]))"
)
_TEXT = r"""folder={folder} launch={launch} id={id} own={own}
say() {{ printf '%s\t%s\n' "$1" "$2"; }}
has() {{ command -v "$1" >/dev/null 2>&1; }}
limit() {{ if has timeout; then timeout 15 "$@"; else "$@"; fi; }}
exec </dev/null
cd /
printf '%s\n' {token}
say clock "$(date +%s.%N)"
say home "${{HOME:-}}"
say user "$(id -un)"
case $folder in "~/"*) folder=${{HOME:-}}/${{folder#??}};; esac
say folder "$folder"
say name "$(uname -n)"
say boot "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
say machine "$(cat /etc/machine-id 2>/dev/null)"
say space "$(readlink /proc/self/ns/net 2>/dev/null)"
say ssh "${{SSH_CONNECTION:-}}"
(ip -o addr show up scope global || ifconfig -a) 2>/dev/null | while read -r line; do say address "$line"; done
for tool in {tools}; do if has "$tool"; then say tool "$tool"; fi; done
tried=" "
for python in "$own" {pythons}; do
  path=$(command -v "$python" 2>/dev/null) || continue
  case $tried in *" $path "*) continue;; esac
  tried="$tried$path "
  about=$(limit "$path" -I -c {about} 2>/dev/null) && say python "$about"
done
if [ -x "$own" ] && version=$(limit "$own" -m madrun --version 2>/dev/null); then say own "$version"; fi
if path=$(command -v madrun) && version=$(limit "$path" --version 2>/dev/null); then
  say program "$path"; say installed "$version"
fi
if has docker && ! limit docker --version 2>/dev/null | grep -qi podman; then
  if version=$(limit docker version --format '{{{{.Server.Version}}}}' 2>&1)
  then say engine "docker $version"
  else say broken "docker: $(printf '%s\n' "$version" | tail -n 1)"; fi
elif [ -w /var/run/docker.sock ]; then say engine docker; fi
user=/run/user/$(id -u)
case ${{CONTAINER_HOST:-}} in
  "") set -- "${{XDG_RUNTIME_DIR:-$user}}/podman/podman.sock" "$user/podman/podman.sock" /run/podman/podman.sock;;
  *) set -- "${{CONTAINER_HOST#unix://}}";;
esac
podman="has no socket at $1"
for socket; do
  if [ ! -S "$socket" ]; then continue; fi
  if [ ! -w "$socket" ]; then podman="$socket may not be written"; continue; fi
  if has curl && ! limit curl -sf -o /dev/null --noproxy '*' --unix-socket "$socket" http://d/_ping
  then podman="nobody answers at $socket"; continue; fi
  say engine podman; podman=; break
done
if has podman && [ -n "$podman" ]; then say silent "$podman"; fi
if [ -f "$launch/launch.json" ] && grep -qF "$id" "$launch/launch.json" && [ -w "$launch" ]; then say shared yes; fi
parent=$folder
while [ ! -d "$parent" ] && [ "$parent" != / ]; do parent=$(dirname "$parent"); done
df -Pk "$parent" 2>/dev/null | {{ read -r line; read -r disk size used free rest; say free "$free"; }}
if [ -w "$parent" ]; then say writable yes; fi
say end {token}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """An interpreter of a host. `version`: 3.11; `tag`: of its compiled files, cpython-311; `libc`: glibc-2.36."""

    path: str
    version: str
    tag: str
    system: str
    machine: str
    libc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a host showed of itself.

    `machine`: the same for two names of one machine, empty where that is not known. `folder`: ssh.folder as a path
    there, with `free` bytes, which may be written or not. `pythons`: those that can run madrun, the best first.
    `madrun`: the version that is installed there, empty for none; `program` is its path, empty where it is that of
    this madrun's own interpreter. `engines`: those that answer, `docker 20.10.24`; `broken`: what docker said where it
    does not; `silent`: why the podman that is installed there does not serve. `shared`: the folder of the launch is
    seen and can be written at the same path. `reached_at`: the address on which its sshd was spoken to.
    `addresses`: of its interfaces, `name` and `address/prefix`. `clock_offset_s`: how far its clock is ahead of
    this host's, to some tenths of a second.
    """

    rank: int
    host: str
    name: str = ""
    user: str = ""
    home: str = ""
    folder: str = ""
    free: int = 0
    writable: bool = False
    machine: str = ""
    pythons: tuple[Python, ...] = ()
    madrun: str = ""
    program: str = ""
    engines: tuple[str, ...] = ()
    broken: str = ""
    silent: str = ""
    tools: tuple[str, ...] = ()
    shared: bool = False
    reached_at: str = ""
    addresses: tuple[tuple[str, str], ...] = ()
    clock_offset_s: float = 0.0


def visit_script(token: str, folder: str, launch: str, launch_id: str, python: str) -> str:
    """The text; `token` begins and ends the answer, `python` is this madrun's own interpreter."""
    minor = sys.version_info.minor
    others = [f"python3.{number}" for number in range(_NEWEST_MINOR, _OLDEST[1] - 1, -1)]
    pythons = dict.fromkeys((f"python3.{minor}", "python3", "/usr/bin/python3", *others))
    return _TEXT.format(
        token=token,
        folder=shlex.quote(folder),
        launch=shlex.quote(launch),
        id=shlex.quote(launch_id),
        own=shlex.quote(python),
        tools=" ".join(TOOLS),
        pythons=" ".join(pythons),
        about=shlex.quote(_ABOUT),
    )


def read_answer(out: bytes, token: str, rank: int, host: str, now: float) -> Seen | None:
    """The answer; None where it is none, or has no end. A login shell may say something before and behind it."""
    # What a terminal would take for its own is left out: some of it is shown.
    text = "".join(letter for letter in out.decode(errors="replace") if letter.isprintable() or letter in "\t\n\r")
    lines = text.splitlines()
    if token not in lines or f"end\t{token}" not in lines:
        return None
    pairs = [line.partition("\t")[::2] for line in lines[lines.index(token) + 1 : lines.index(f"end\t{token}")]]
    first: dict[str, str] = {}
    for key, value in pairs:
        first.setdefault(key, value.strip())
    boot = first.get("boot", "")
    version = first.get("own") or first.get("installed", "")
    return Seen(
        rank=rank,
        host=host,
        name=first.get("name", ""),
        user=first.get("user", ""),
        home=first.get("home", ""),
        folder=first.get("folder", ""),
        free=1024 * int(first["free"]) if first.get("free", "").isascii() and first.get("free", "").isdigit() else 0,
        writable="writable" in first,
        machine=" ".join((boot, *(first.get(key, "") for key in ("name", "machine", "space")))) if boot else "",
        pythons=tuple(_pythons(value for key, value in pairs if key == "python")),
        madrun=version.removeprefix("madrun ").strip(),
        program="" if first.get("own") else first.get("program", ""),
        engines=tuple(value for key, value in pairs if key == "engine"),
        broken=first.get("broken", ""),
        silent=first.get("silent", ""),
        tools=tuple(value for key, value in pairs if key == "tool"),
        shared="shared" in first,
        reached_at=_server(first.get("ssh", "")),
        addresses=tuple(found for key, value in pairs if key == "address" if (found := _address(value))),
        clock_offset_s=_clock(first.get("clock", ""), now),
    )


def _pythons(lines: Iterator[str]) -> Iterator[Python]:
    """Those that are new enough; the one like this first, then the newest."""
    found = []
    for line in lines:
        words = line.split("\t")
        version = re.fullmatch(r"([0-9]{1,4})\.([0-9]{1,4})", words[1]) if len(words) == 6 else None
        if version and (int(version[1]), int(version[2])) >= _OLDEST:
            path, text, tag, system, machine, libc = words
            rank = (tag == sys.implementation.cache_tag, int(version[1]), int(version[2]))
            found.append((rank, Python(path=path, version=text, tag=tag, system=system, machine=machine, libc=libc)))
    yield from (python for _, python in sorted(found, key=lambda pair: pair[0], reverse=True))


def _server(words: str) -> str:
    """The third of SSH_CONNECTION, sshd(8): the address of the server."""
    parts = words.split()
    return parts[2].partition("%")[0] if len(parts) == 4 else ""


def _address(line: str) -> tuple[str, str] | None:
    """Interface and `address/prefix` of a line of `ip -o addr`, ip-address(8); None for what is no such line."""
    match = re.match(r"[0-9]+:\s+(\S+)\s+inet6?\s+(\S+)", line)
    if match:
        with suppress(ValueError):
            return match[1].partition("@")[0], str(ip_interface(match[2]))
    return None


def _clock(text: str, now: float) -> float:
    """Seconds ahead; 0 where the answer is no number. A date that knows no %N leaves it as it stands."""
    match = re.match(r"[0-9]{1,12}(\.[0-9]{1,9})?", text)
    return float(match[0]) - now if match else 0.0
