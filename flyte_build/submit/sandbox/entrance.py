"""An engine with what this machine can put around it: processes that are not root's, a network apart from the host's.

``choose`` finds the best that works, by trying; what it has to go without it says, once. Nothing is installed here.
"""

from __future__ import annotations

import os
import platform
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network
from pathlib import Path

from ...kernel.errors import SandboxError
from ...kernel.values import dataclass, field, replace
from .engines import available, explain, probe, which
from .namespaces import Unshare
from .outside.outlet import own_addresses
from .spec import Engine, Network, Sandbox

__all__ = ["Entrance", "Outlet", "choose", "entrance", "free_owner", "free_subnet", "nameservers"]

# As systemd-nspawn has it: ids that no distribution gives to users.
_OWNERS = (0x00080000, 0x6FFF0000)
# Folders that every system has and no sandbox's parts come from: the first that is there is covered while one starts.
_PLACES = ("/mnt", "/media", "/srv", "/var/empty")
_SUBNETS = ("10.0.2.0/24", "10.203.74.0/24", "172.29.188.0/24", "192.168.233.0/24", "198.18.91.0/24")


@dataclass(frozen=True, slots=True)
class Outlet:
    """``program`` (slirp4netns, absolute) carries what leaves a sandbox; ``subnet`` is all that is inside with it."""

    program: str
    subnet: str

    @property
    def nameserver(self) -> str:
        """The address at which the helper answers for the host's first nameserver, wherever that is."""
        return str(IPv4Network(self.subnet)[3])


@dataclass(frozen=True, slots=True)
class Entrance:
    """``engine``, and around it a way out (``outlet``) for sandboxes with ``internet``, and their ``owner``.

    ``network`` is what tasks get here. ``owner`` is the user and group that the sandbox's processes have on the host;
    ``None``: this process's own. ``said`` are the sentences about what this machine cannot give.
    """

    engine: Engine
    network: Network = "host"
    owner: int | None = None
    outlet: Outlet | None = None
    said: tuple[str, ...] = ()
    place: str = field(default_factory=lambda: next(filter(_coverable, _PLACES), "/tmp"))

    @property
    def name(self) -> str:
        """As the engine's."""
        return self.engine.name

    @property
    def nameserver(self) -> str | None:
        """Whom sandboxes ask for names; ``None``: whom the host asks."""
        return self.outlet.nameserver if self.outlet is not None and self.network == "internet" else None

    def command(self, box: Sandbox, seccomp: int | None = None) -> Sequence[str]:
        """See :class:`Engine`."""
        words: list[str] = []
        engine = self.engine
        if self.owner is not None:
            words += ["--owner", str(self.owner), str(self.owner), self.place]
            staged = _Staged(self.place)
            box = replace(
                box,
                root=staged(box.root),
                mounts=tuple(replace(m, source=staged(m.source)) for m in box.mounts),
            )
            if isinstance(engine, Unshare):
                engine = replace(engine, python=_python(staged), script=staged(engine.script))
            words += [word for source in staged.sources for word in ("--source", str(source))]
        if box.network == "internet":
            if self.outlet is None:
                raise OSError("no program that carries a sandbox's network")
            words += ["--outlet", self.outlet.program, self.outlet.subnet]
            if box.offers is not None:
                words += ["--offers", str(box.offers)]
        inner = engine.command(box, seccomp)
        return [*_outside(), *words, "--", *inner] if words else inner


def _coverable(place: str) -> bool:
    """Whether ``place`` is there and has nothing that runs meanwhile."""
    running = (sys.base_prefix, os.path.realpath(sys.executable), __file__)
    return os.path.isdir(place) and not any(path.startswith(f"{place}/") for path in running)


class _Staged:
    """Where each source is shown to the owner: by number, in the order in which they were asked for."""

    def __init__(self, place: str) -> None:
        self.sources: list[Path] = []
        self._place = Path(place)

    def __call__(self, source: Path) -> Path:
        self.sources.append(source)
        return self._place / str(len(self.sources) - 1)


def _outside() -> list[str]:
    # As a module, for its compiled code is kept; at the path's end, for nothing here is to hide the standard library.
    start = f"import sys; sys.path.append({os.path.dirname(__file__)!r}); from outside.main import main; main()"
    return [sys.executable, "-I", "-S", "-c", start]


def _python(staged: _Staged) -> str:
    """This interpreter, as somebody finds it to whom root's folders are closed."""
    program, prefix = Path(os.path.realpath(sys.executable)), Path(os.path.realpath(sys.base_prefix))
    if all(folder.stat().st_mode & 0o001 for folder in program.parents) or not program.is_relative_to(prefix):
        return str(program)
    return str(staged(prefix) / program.relative_to(prefix))


def free_owner(read: Callable[[str], str] = lambda path: Path(path).read_text()) -> int | None:
    """An id, for a user and a group alike, that nothing on this machine has; ``None``: this process is not root.

    Root of a user namespace is not: whoever owns that is no root outside.
    """
    if os.geteuid() != 0 or read("/proc/self/uid_map").split() != ["0", "0", "4294967295"]:
        return None
    taken: list[range] = []
    for path, at in (("/etc/passwd", 2), ("/etc/group", 2), ("/etc/subuid", 1), ("/etc/subgid", 1)):
        try:
            lines = read(path).splitlines()
        except OSError:
            continue
        for words in (line.split(":") for line in lines):
            if len(words) > 2 and words[at].isdigit():
                count = int(words[2]) if at == 1 and words[2].isdigit() else 1
                taken.append(range(int(words[at]), int(words[at]) + count))
    while True:
        found = random.SystemRandom().randrange(*_OWNERS)
        if not any(found in ids for ids in taken):
            return found


def nameservers(resolver: str) -> list[str]:
    """The addresses on the ``nameserver`` lines of a resolv.conf(5)."""
    lines = (line.split() for line in resolver.splitlines())
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]


def free_subnet(read: Callable[[str], str] = lambda path: Path(path).read_text()) -> str:
    """A network for the inside of sandboxes that hides nothing which this machine has an address in or a route to."""
    taken = [IPv4Network(cidr, strict=False) for cidr in own_addresses(read("/proc/net/fib_trie"))]
    for line in read("/proc/net/route").splitlines()[1:]:
        words = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(words[i])[::-1], "big") for i in (1, 7))
        if mask:  # else it is the default route
            taken.append(IPv4Network((destination, mask.bit_count())))
    try:
        named = nameservers(read("/etc/resolv.conf"))
    except OSError:
        named = []
    taken += [IPv4Network(address) for address in named if ":" not in address]
    return next((s for s in _SUBNETS if not any(IPv4Network(s).overlaps(t) for t in taken)), _SUBNETS[0])


def _outlet() -> tuple[Outlet | None, str]:
    """The way out that is installed here, or why there is none."""
    program = which("slirp4netns")
    if program is None:
        return None, "slirp4netns is not installed"
    try:
        return Outlet(program, free_subnet()), ""
    except (OSError, ValueError) as e:
        return None, f"this machine's addresses cannot be read ({e})"


def choose(
    *,
    network: Network | None = None,
    engines: Sequence[Engine] | None = None,
    folders: Iterable[Path] = (),
) -> Entrance:
    """The best entrance that works here: for root, processes of another owner before root's own.

    ``network`` ``None``: ``internet`` where this machine can give it, else ``host``. ``folders`` are where sandboxes'
    parts will lie. Raises :class:`SandboxError` saying why nothing works.
    """
    if sys.platform != "linux":
        raise SandboxError(
            f"no way to isolate a task: sandboxes are made of Linux's namespaces, and this is {platform.system()}",
            hint="run on a cluster with `run --on TARGET`, or on a Linux machine (docs/macos.md)",
        )
    candidates = available() if engines is None else engines
    if not candidates:
        raise SandboxError(
            "no way to isolate a task: neither `bwrap` nor `unshare` is installed",
            hint="install bubblewrap (`apt install bubblewrap`) or util-linux",
        )
    outlet, closed = (None, "") if network in ("host", "none") else _outlet()
    owner = free_owner()
    shown = tuple(dict.fromkeys(_existing(folder) for folder in folders))
    refusals: dict[tuple[Network, bool], list[str]] = {}
    for net in ("internet", "host") if network is None else (network,):
        if net == "internet" and outlet is None:
            refusals["internet", False] = [closed]
            continue
        for ident in dict.fromkeys((owner, None)):
            tried = refusals.setdefault((net, ident is not None), [])
            for engine in candidates:
                found = Entrance(engine, net, ident, outlet)
                words = probe(found, network=net, folders=shown)
                if words is None:
                    return replace(found, said=_without(network, found, owner, refusals))
                tried.append(f"{engine.name}: {words}")
    _refuse(candidates, network, refusals, outlet)
    raise AssertionError("it raised")


def entrance(engine: Engine | None, network: Network | None, folders: Iterable[Path]) -> Entrance:
    """See ``choose``: through ``engine`` where one is given, which is taken as it is if it is an entrance."""
    if isinstance(engine, Entrance):
        return engine
    return choose(network=network, engines=None if engine is None else [engine], folders=folders)


def _existing(folder: Path) -> Path:
    return next(f for f in (folder.absolute(), *folder.absolute().parents) if f.is_dir())


def _without(
    network: Network | None, found: Entrance, owner: int | None, refusals: dict[tuple[Network, bool], list[str]]
) -> tuple[str, ...]:
    said = []
    if network is None and found.network == "host":
        why = _why(refusals.get(("internet", False)) or [])
        way = "`apt install slirp4netns` parts them" if found.outlet is None else "they are parted where that works"
        said.append(f'tasks reach this machine\'s own services ({why}): {way}, and `network = "host"` accepts it')
    if found.owner != owner:
        why = _why(refusals.get((found.network, True)) or [])
        said.append(f"tasks run as this machine's root, though without its rights ({why})")
    return tuple(said)


def _why(words: list[str]) -> str:
    """What was said first, without who said it."""
    return next((w.partition("sandbox: ")[2] or w for w in words), "it was refused").splitlines()[0]


def _refuse(
    candidates: Sequence[Engine],
    network: Network | None,
    refusals: dict[tuple[Network, bool], list[str]],
    outlet: Outlet | None,
) -> None:
    words = next(w for w in reversed(refusals.values()))
    if network == "internet" and (outlet is None or _isolates(candidates)):
        raise SandboxError(
            "this machine gives tasks no network of their own, which `internet` asks for",
            hint="`apt install slirp4netns` and make /dev/net/tun usable, or choose the network `host` or `none`",
            detail="\n".join(words),
        )
    raise SandboxError(
        f"this machine refuses to isolate a task ({' and '.join(e.name for e in candidates)} tried)",
        hint=explain(),
        detail="\n".join(words),
    )


def _isolates(candidates: Sequence[Engine]) -> bool:
    return any(probe(engine, network="host") is None for engine in candidates)
