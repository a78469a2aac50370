"""Every key of ``[tool.flyte-build]``, once: what it takes, what wins over it, and what is said of it.

Reading, messages, ``docs/settings.md`` and the editors' schema are made from these rows, so none can know a key that
another does not. Never reads a file, a variable or the command line. What is not a key is in ``variables``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .here import HERE
from .kinds import SIZE, Kind, Setting

__all__ = ["DEFAULTS", "SIZE", "TABLE", "Kind", "Setting"]

_ROWS = (
    Setting(
        "file",
        "file",
        "The file that a command means when it names none. It has to lie in a folder that takes its settings from the "
        "same `pyproject.toml`.",
        '"main.py"',
        otherwise="each command names its FILE",
        option="FILE",
    ),
    Setting(
        "root",
        "folder",
        "The folder that imports start from, and that relative paths in images start from. It is that of the "
        "`pyproject.toml`, or below it.",
        '"src"',
        otherwise="the folder of FILE, or above it the one that holds all of the project's code that FILE imports",
        option="--root",
        see="flyte.md",
    ),
    Setting(
        "lockfiles",
        "folder",
        "The folder that locks are read from and written to.",
        '"locks"',
        otherwise="the nearest `lockfiles/` upwards from the root, else one beside the nearest `pyproject.toml` or "
        "`.git`",
        variable="FLYTE_BUILD_LOCKFILES",
        option="--lockfiles",
        see="architecture.md",
    ),
    Setting(
        "exclude-newer",
        "age",
        "A cooldown: wheels and Debian packages that are chosen anew have to be older than this (`7 days`, `36 hours`, "
        "`P2W`), or published before a date. The instant is recorded in the lock; locks that answer their recipes stay "
        "as they are.",
        '"7 days"',
        otherwise="the newest is taken",
        option="--exclude-newer",
        see="questions.md",
    ),
    Setting(
        "exclude-newer-index",
        "ages",
        "Cooldowns of single indexes, by their name in uv's configuration or by their address, which win over "
        "`exclude-newer` of the table and of the command line; `debian` is Debian's archive. `none`: whatever such an "
        "index has is taken, however new.",
        '{ internal = "none", "https://wheels.example/simple" = "3 days" }',
        default=(),
        otherwise="what holds for all",
        see="questions.md",
    ),
    Setting(
        "registry",
        "text",
        "Images are pushed below it: a host, with a path or without.",
        '"registry.example/team"',
        otherwise="nowhere to push to",
        variable="FLYTE_BUILD_REGISTRY",
        option="--registry",
        see="registries.md",
    ),
    Setting(
        "repository",
        "text",
        "What an image's repository is called. `{registry}` has to be in it, `{environment}` may be: without it, all "
        "images are in one repository.",
        '"{registry}/flyte-{environment}"',
        default="{registry}/{environment}",
        see="cache.md",
    ),
    Setting(
        "platforms",
        "texts",
        "What is pushed.",
        '["linux/amd64"]',
        default=(),
        otherwise="every platform that an image is for",
        option="--platform",
        see="cache.md",
    ),
    Setting(
        "insecure-registries",
        "texts",
        "Hosts that plain HTTP may be spoken with, besides loopback.",
        '["10.0.0.5:5000"]',
        default=(),
        otherwise="none",
        variable="FLYTE_BUILD_INSECURE_REGISTRIES",
        see="registries.md",
    ),
    Setting(
        "cache",
        "texts",
        "Repositories that hold what others built. All are asked, and what is pushed is noted in the first.",
        '["registry.example/team/cache"]',
        default=(),
        otherwise="none",
        variable="FLYTE_BUILD_REMOTE_CACHE",
        option="--cache",
        see="cache.md",
    ),
    Setting(
        "cache-write",
        "flag",
        "Whether the cache is written to. `false` is for jobs that only read, such as those of a pull request.",
        "false",
        default=True,
        variable="FLYTE_BUILD_REMOTE_CACHE_WRITE",
        see="ci.md",
    ),
    Setting(
        "base",
        "choice",
        "What `from_debian_base()` stands on: Debian, assembled from locked packages (with its own Python where it has "
        "that version, else the relocatable one that uv installs), the same always with uv's (`standalone`), or the "
        "official slim images of a registry.",
        '"registry"',
        default="debian",
        choices=("debian", "standalone", "registry"),
        see="bases.md",
    ),
    Setting(
        "bytecode",
        "choice",
        "Whether images have their Python modules' bytecode, in layers of its own beside those of the modules: tasks "
        "in fresh pods import in less time, and images are larger. Of images on Debian, not of those on a registry's.",
        '"layer"',
        default="none",
        choices=("none", "layer"),
        see="bytecode.md",
    ),
    Setting(
        "apt-components",
        "texts",
        "Parts of Debian's archive that packages may come from, besides `main`, whose licences are not free as Debian "
        "has it: `contrib`, `non-free`, `non-free-firmware`.",
        '["contrib", "non-free"]',
        default=(),
        otherwise="`main` alone",
        see="bases.md",
    ),
    Setting(
        "apt-sources",
        "files",
        "Other people's apt sources that packages may come from: files in apt's own format (`NAME.sources`), each with "
        "the key that it is signed by. Of a package that Debian has, too, Debian's is taken.",
        '["apt/company.sources"]',
        default=(),
        otherwise="none",
        see="bases.md",
    ),
    Setting(
        "policy",
        "choice",
        "What happens to an image that cannot be hermetic: it is refused, or left with a warning to the SDK's own "
        "builder.",
        '"delegate"',
        default="refuse",
        variable="FLYTE_BUILD_POLICY",
        choices=("refuse", "delegate"),
        see="flyte.md",
    ),
    Setting(
        "checks",
        "choice",
        "What flyte's own commands, `pin` and `pinned` do about calls that would fail for want of a `depends_on` or a "
        "package (docs/checks.md): they are refused, told as warnings, or not looked for.",
        '"warn"',
        default="refuse",
        variable="FLYTE_BUILD_CHECKS",
        choices=("refuse", "warn", "off"),
        see="flyte.md",
    ),
    Setting(
        "overlaps",
        "choice",
        "What happens to an image of which two distributions install different files at one path: it is locked with a "
        "line that says whose are in it, or refused.",
        '"refuse"',
        default="allow",
        variable="FLYTE_BUILD_OVERLAPS",
        choices=("allow", "refuse"),
        see="layers.md",
    ),
    Setting(
        "layer-ceiling",
        "size",
        "What a layer of Python packages may have, `16Mi` or more: a larger wheel is spread over several layers, "
        "divided between its files, and so are a step's small ones. Locks say it where it is not the default.",
        '"500M"',
        otherwise="`4Gi`",
        see="layers.md",
    ),
    Setting(
        "pin",
        "choice",
        "When the digests of images are written into their locks: by every build, by those that leave this machine "
        "(`push`, `bundle`, runs on a target), or by none. Pins that are there are held against every build.",
        '"on-push"',
        default="always",
        choices=("always", "on-push", "never"),
        see="pins.md",
    ),
    Setting(
        "sign-key",
        "key",
        "What pushed images are signed with: a private key's file, or a reference as cosign takes it (`awskms://…`).",
        '"team.key"',
        otherwise="nothing is signed",
        see="supply-chain.md",
    ),
    Setting(
        "verify-key",
        "key",
        "Whose signature an image must have before it is run: a public key's file, or a reference as cosign takes it.",
        '"team.pub"',
        otherwise="no signature is asked for",
        see="supply-chain.md",
    ),
    *HERE,
    Setting(
        "targets",
        "targets",
        "Clusters that tasks can be run on, each by a name: `flyte-build target check NAME` tries one.",
        '{ prod = { namespace = "ml", storage = "s3://bucket/runs" } }',
        default=(),
        otherwise="none",
        see="kubernetes.md",
    ),
)

TABLE: Mapping[str, Setting] = MappingProxyType({row.key: row for row in _ROWS})
"""The rows by key, in the order of the documentation."""

DEFAULTS: Mapping[str, Any] = MappingProxyType({row.key: row.default for row in _ROWS})
"""What holds where nobody says anything, by key."""
