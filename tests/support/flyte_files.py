"""Runs for tests: a root file system that borrows the host's files, and root actions made by the real SDK.

The root is a folder of mount points and links with the host's ``/usr`` and this test run's virtual environment shown
read-only in it, so that the unmodified runtime starts in a sandbox without an image having been built.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from flyte_build.submit.action import ImageRoot, RootAction
from flyte_build.submit.roots import prepare

__all__ = ["dry_run", "host_image"]


def host_image(folder: Path, digest: str, env: Mapping[str, str] | None = None) -> ImageRoot:
    """An image whose tree is the host's system and the running interpreter's environment."""
    root = folder / digest.replace(":", "-")
    root.mkdir(parents=True)
    binds: dict[str, Path] = {}
    for name in ("usr", "bin", "sbin", "lib", "lib64", "lib32"):
        source = Path("/", name)
        if source.is_symlink():
            (root / name).symlink_to(os.readlink(source))
        elif source.is_dir():
            (root / name).mkdir()
            binds[f"/{name}"] = source
    # The runtime's client demands certificate authorities, even to speak without TLS.
    (root / "etc/ssl").mkdir(parents=True)
    binds["/etc/ssl"] = Path("/etc/ssl")
    for prefix in {sys.prefix, sys.base_prefix}:
        if not any(prefix.startswith(f"{target}/") for target in binds):
            binds[prefix] = Path(prefix)
            (root / prefix.lstrip("/")).mkdir(parents=True, exist_ok=True)
    prepare(root)
    variables = {"PATH": f"{sys.prefix}/bin:/usr/bin:/bin", "LANG": "C.UTF-8"} | dict(env or {})
    return ImageRoot(
        digest,
        root,
        sys.executable,
        tuple(f"{k}={v}" for k, v in variables.items()),
        binds=tuple((source, target) for target, source in sorted(binds.items())),
    )


_DRY_RUN = """
import importlib, pathlib, pickle, sys
import flyte
root, module, task, out, inputs = sys.argv[1:]
out = pathlib.Path(out)
sys.path.insert(0, root)
flyte.init(root_dir=pathlib.Path(root), org="local", project="tests", domain="development")
task = getattr(importlib.import_module(module), task)
given = pickle.loads(bytes.fromhex(inputs))
run = flyte.with_runcontext(mode="remote", dry_run=True, copy_bundle_to=out).run(task, **given)
result = {
    "task_spec": run.task_spec.SerializeToString(),
    "inputs": run.inputs.proto_inputs.SerializeToString(deterministic=True),
    "bundle": run.code_bundle.tgz,
    "environment": task.parent_env_name,
    "task": task.name,
}
(out / "action.pickle").write_bytes(pickle.dumps(result))
"""


def dry_run(project: Path, module: str, task: str, out: Path, **inputs: object) -> RootAction:
    """The root action for calling ``task`` of ``module`` in the folder ``project``, as the SDK's dry run gives it."""
    out.mkdir(parents=True)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _DRY_RUN,
            str(project),
            module,
            task,
            str(out),
            pickle.dumps(inputs).hex(),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = pickle.loads((out / "action.pickle").read_bytes())
    bundle = Path(found.pop("bundle").removeprefix("file://"))
    return RootAction(**found, bundle=bundle, env={"_F_SYS_PATH": "./"})
