"""Bazel 7 on a machine without network: Debian's bazel-bootstrap in a tree of its own, and the modules it asks for.

Bazel's own modules name others (rules_java, protobuf, …) that it would fetch from its registry before anything runs,
needed or not. Debian's package has some of them; the rest are empty here: no target of ours needs them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.machine import Machine, bare_machine

__all__ = ["Bazel", "bazel_machine", "module_text"]

_DEPENDENCY = re.compile(r"^bazel_dep\((.*)\)$", re.MULTILINE)
_FIELD = re.compile(r'\b(name|version)\s*=\s*"([^"]+)"')
_OUTPUT = "/var/tmp/bazel"
# Of Debian's package: the module, and where its files are.
_BROUGHT = {
    "platforms": "platforms/platforms",
    **{f"rules_{name}": f"rules/{name}" for name in ("cc", "java", "license", "proto", "python")},
}


def module_text(name: str) -> str:
    """``MODULE.bazel`` of a project ``name`` whose locks lie in ``//lockfiles``, beside flyte-build's checkout."""
    return f"""
module(name = "{name}")
bazel_dep(name = "flyte_build", version = "0.1.0")
local_path_override(module_name = "flyte_build", path = "/root/flyte-build")
flyte = use_extension("@flyte_build//rules/bazel:extensions.bzl", "flyte")
flyte.locks(name = "images", folder = "//lockfiles:BUILD.bazel")
use_repo(flyte, "images")
"""


@dataclass(frozen=True)
class Bazel:
    """``bazel`` in ``machine``; the registry of modules lies in its ``/registry``."""

    machine: Machine

    def __call__(self, workspace: str, *arguments: str, timeout: int = 600, **variables: str) -> tuple[int, str, str]:
        """``bazel ARGUMENTS`` in ``workspace``, a path in the machine; no server stays behind."""
        verb, *rest = arguments
        given = "".join(f"export {name}='{value}'; " for name, value in variables.items())
        options = ["--registry=file:///registry", "--lockfile_mode=off", "--color=no", "--curses=no"]
        quoted = " ".join(f"'{word}'" for word in (verb, *options, *rest))
        script = (
            f"{given}bazel --output_user_root={_OUTPUT} {quoted}; code=$?; "
            f"bazel --output_user_root={_OUTPUT} shutdown >/dev/null 2>&1; exit $code"
        )
        return self.machine.run(script, cwd=workspace, timeout=timeout)


def bazel_machine(folder: Path) -> Bazel:
    """A Debian sid with Bazel in ``folder``; takes a minute."""
    machine = bare_machine(folder, ["ca-certificates"], "sid")
    install = "apt-get install -y -qq --no-install-recommends bazel-bootstrap"
    code, out, err = machine.run(
        f"apt-get update -qq && DEBIAN_FRONTEND=noninteractive {install} >/var/log/bazel.log 2>&1", timeout=600
    )
    assert code == 0, f"{out}\n{err}\n{(folder / 'var/log/bazel.log').read_text()[-2000:]}"
    _registry(folder)
    return Bazel(machine)


def _registry(root: Path) -> None:
    share = root / "usr/share/bazel"
    files = [share / "embedded_tools/MODULE.bazel", *share.glob("rules/*/MODULE.bazel")]
    wanted = {("platforms", "0.0.9")}
    for file in files:
        for text in _DEPENDENCY.findall(file.read_text()):
            fields = dict(_FIELD.findall(text))
            if "dev_dependency" not in text:
                wanted.add((fields["name"], fields["version"]))
    for name, version in sorted(wanted):
        module = f'module(name = "{name}", version = "{version}")\n'
        entry = root / "registry/modules" / name / version
        entry.mkdir(parents=True, exist_ok=True)
        (entry / "MODULE.bazel").write_text(module)
        empty = root / "registry/empty" / name
        empty.mkdir(parents=True, exist_ok=True)
        (empty / "MODULE.bazel").write_text(module)
        (empty / "BUILD.bazel").touch()
        brought = name in _BROUGHT and (share / _BROUGHT[name]).is_dir()
        path = f"/usr/share/bazel/{_BROUGHT[name]}" if brought else f"/registry/empty/{name}"
        (entry / "source.json").write_text(json.dumps({"type": "local_path", "path": path}))
    (root / "registry/bazel_registry.json").write_text("{}")
