"""Debian packages, configured by dpkg itself: what is lent to the sealed step that does it, and which packages want it.

Their files are in the image's layers already, and dpkg's database says so. The step gives every package its maintainer
scripts and triggers back, marks those that were asked for as unpacked, and lets dpkg configure them (Debian policy,
chapter 6; deb-triggers(5)). Nothing is unpacked, so that what comes of it is what the scripts did. Configuration files
are under dpkg's names for new ones until then, as others' scripts run what they find in such folders; but for those of
the priorities that a Debian has before anything is asked for.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ..assemble.deb import SCRIPTS, Control, read_control
from ..assemble.scripts import unhandled_scripts
from ..deriving.nouns import Artifact
from ..kernel.reporting import Reporter
from ..locks.nouns import LockedDeb, LockedPlatform
from ..sources.places import Locator
from ..store import Store

__all__ = ["controls", "given", "wanting"]

# Beside the scripts: what debconf and dpkg-shlibdeps read, and what dpkg itself does.
_INFO = (*SCRIPTS, "templates", "triggers", "shlibs", "symbols")

SCRIPT = r"""
set -eu
db=/var/lib/dpkg
mkdir -p $db/updates $db/parts /var/log/apt /var/cache/debconf
touch $db/available
cp -p /build/info/* $db/info/
cp -p /build/triggers/* $db/triggers/
perl -e '
    my %asked = map { chomp; $_ => 1 } do { open my $f, "<", "/build/asked" or die; <$f> };
    open my $in, "<", "/var/lib/dpkg/status" or die; local $/ = ""; my @rows = <$in>;
    for (@rows) {
        my ($name) = /^Package: (\S+)/m;
        $asked{$name} or next;
        s/^Status: install ok installed$/Status: install ok unpacked/m;
        /^Priority: (required|important|standard)$/m and next;
        s{^( (/.+) )[0-9a-f]{32}$}{-f $2 && !-l $2 && rename($2, "$2.dpkg-new") ? "$1newconffile" : $&}gme;
    }
    open my $out, ">", "/var/lib/dpkg/status" or die; print $out @rows; close $out or die;'
while read -r name script; do
    DPKG_MAINTSCRIPT_PACKAGE=${name%%:*} DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 \
        DPKG_ADMINDIR=$db DPKG_ROOT= "$db/info/$script" install </dev/null
done </build/preinst
while read -r what; do dpkg-trigger --no-await --by-package=dpkg "$what"; done </build/activate
dpkg --force-confnew,unsafe-io --configure -a </dev/null
left=$(dpkg --audit)
test -z "$left" || { echo "$left"; exit 1; }
"""


def controls(
    debs: Iterable[LockedDeb], store: Store, locator: Locator, reporter: Reporter
) -> list[tuple[LockedDeb, Control]]:
    """What the packages say of themselves, fetched where they are not here. Raises what fetching does."""
    from ..sources.fetching import fetch

    rows = sorted(debs, key=lambda deb: (deb.name, deb.architecture))
    artifacts = [Artifact(deb.sha256, deb.size, deb.file, deb) for deb in rows]
    paths = fetch(artifacts, store, locator=locator, reporter=reporter)
    return [(deb, read_control(paths[deb.sha256], deb.file)) for deb in rows]


def wanting(found: Iterable[tuple[LockedDeb, Control]]) -> tuple[str, ...]:
    """The packages asked for whose scripts do what nothing of ours stands for, sorted."""
    asked = (control for deb, control in found if not deb.base)
    return tuple(sorted({name for name, _ in unhandled_scripts(asked)}))


def given(
    out: Path, part: LockedPlatform, read: Callable[[Iterable[LockedDeb]], list[tuple[LockedDeb, Control]]]
) -> str:
    """A layer for the step, as a tar: the script, and what it puts where; its diff_id. ``read``: :func:`controls`."""
    found = read(part.debs)
    files: dict[str, bytes] = {"build/configure": SCRIPT.encode(), "usr/sbin/policy-rc.d": b"#!/bin/sh\nexit 101\n"}
    for _, control in found:
        for name in _INFO:
            if name in control.files:
                files[f"build/info/{control.database_name}.{name}"] = control.files[name]
    asked = [control for deb, control in found if not deb.base]
    files["build/asked"] = _lines(control.name for control in asked)
    wanted = {name for name, script in unhandled_scripts(asked) if script == "preinst"}
    files["build/preinst"] = _lines(f"{c.name} {c.database_name}.preinst" for c in asked if c.name in wanted)
    interests, activated = _triggers([control for _, control in found], {control.name for control in asked})
    files |= {f"build/triggers/{name}": data for name, data in interests.items()}
    files["build/activate"] = _lines(activated)
    return _tar(out, files)


def _triggers(every: Sequence[Control], asked: set[str]) -> tuple[Mapping[str, bytes], list[str]]:
    """The database of interests (triggers of dpkg's internals, ``File`` and a file for each name), and what is
    activated: every folder that somebody watches, and the names that the packages asked for activate when unpacked."""
    named: dict[str, list[str]] = {}
    watched: list[tuple[str, str]] = []
    activated: set[str] = set()
    for control in every:
        for line in control.files.get("triggers", b"").decode("utf-8", "replace").splitlines():
            directive, _, what = line.partition("#")[0].strip().partition(" ")
            what = what.strip()
            waits = "" if not directive.endswith("-noawait") else "/noawait"
            if directive.startswith("interest") and what.startswith("/"):
                watched.append((what, control.database_name + waits))
            elif directive.startswith("interest"):
                named.setdefault(what, []).append(control.database_name + waits)
            elif directive.startswith("activate") and control.name in asked:
                activated.add(what)
    files = {name: _lines(rows) for name, rows in named.items() if "/" not in name}
    files["File"] = _lines(f"{path} {who}" for path, who in watched)
    known = activated & named.keys()
    return files, [*sorted({path for path, _ in watched}), *sorted(known)]


def _lines(rows: Iterable[str]) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def _tar(out: Path, files: Mapping[str, bytes]) -> str:
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        # update-alternatives(1) fails where a manual page's folder is not, and images have none.
        for number in range(1, 10):
            folder = tarfile.TarInfo(f"usr/share/man/man{number}")
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            program = name.rsplit(".", 1)[-1] in SCRIPTS or name == "usr/sbin/policy-rc.d"
            member.size, member.mode = len(data), 0o755 if program else 0o644
            tar.addfile(member, io.BytesIO(data))
    with open(out, "rb") as f:
        return f"sha256:{hashlib.file_digest(f, 'sha256').hexdigest()}"
