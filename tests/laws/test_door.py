"""Files that a task could have made are opened through the door: every other call in ``submit`` is listed, with its
reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from .house import PACKAGE

SUBMIT = PACKAGE / "submit"
# What opens, makes, changes, links or removes a file.
CALLS = frozenset(
    (
        *("read_bytes", "read_text", "write_bytes", "write_text", "open", "mkdir", "makedirs", "mkdtemp", "mkstemp"),
        *("unlink", "touch", "rename", "replace", "rmdir", "symlink", "symlink_to", "link", "hardlink_to", "chmod"),
        *("chown", "iterdir", "glob", "rglob", "copy", "copy2", "copyfile", "copytree", "copyfileobj", "rmtree"),
        *("listdir", "scandir", "walk", "truncate", "utime", "stat", "lstat", "readlink"),
    )
)
INSIDE = "runs in the sandbox, or while it is made"
OURS = "a folder of the launcher's own, which no sandbox sees or which is read-only in it"
ROOT = "an image's tree before anything runs in it; every path is resolved below the root, and tasks see it read-only"
HOST = "the user's or the system's own files"
COUNTED = (
    "looked at for its size, on folders that the door or a process holds open; at most made readable for its owner"
)
MIRROR = "this machine's copy of what pods left in object storage, to which no task writes"
DEAD = "what is left of a sandbox of which no process lives; it is removed without following links"

ARGUED = {
    "api.py": {"connect": HOST},
    "launcher.py": {"launch": OURS, "fetch": MIRROR, "_carried": MIRROR},
    "pod_replica.py": {"take": OURS},
    "growing.py": {"_size": OURS},
    "replica_pods.py": {"launch": OURS, "_complete": OURS},
    "mirror.py": {"down": MIRROR},
    "cold.py": {"collecting_late": OURS},
    "drive.py": {"drive": MIRROR, "_known": MIRROR},
    "reading.py": {"fetch_logs": MIRROR},
    "submission.py": {"store_submission": HOST, "_upload_inputs": OURS},
    "attempt.py": {"_make_folders": OURS, "_tail": OURS},
    "bytecode.py": {"_compile": OURS, "kept": OURS, "_names": ROOT},
    "lending.py": {"_names": HOST, "_listed_in": HOST, "_lent": HOST, "_keep": OURS, "_write": OURS},
    "pyc.py": {"same": ROOT, "keep": OURS, "spread": ROOT, "_modules": ROOT, "_link": ROOT},
    "cache.py": {"find": OURS, "put": OURS, "alone": OURS, "bundle_digest": OURS},
    "filling.py": {"_noted": OURS, "_lowest": ROOT},
    "furnish.py": {"*": ROOT},
    "tls.py": {"context": OURS},
    "stash.py": {"_admit": OURS},
    "deployed.py": {"*": OURS},
    "history.py": {"*": OURS},
    "imports.py": {"modules_below": ROOT, "imported_by_bundle": HOST},
    "journal.py": {"*": OURS},
    "layers.py": {"partial": OURS, "size": OURS},
    "local.py": {"_note": OURS},
    "reused.py": {"started": OURS},
    "scratch.py": {"copy": OURS},
    "given.py": {"read_shelf": HOST},
    "volumes.py": {"*": OURS},
    "places.py": {"*": ROOT},
    "raw.py": {"placed": OURS, "_write": OURS},
    "ports.py": {"listening": OURS, "_connected": OURS},
    "apps.py": {"_start": OURS},
    "served.py": {"_berth": OURS, "last_lines": OURS},
    "beside.py": {"_berth": OURS, "_ended": OURS, "_tail": OURS},
    "posing.py": {"furnished": OURS},
    "fresh.py": {"names": HOST, "seed": ROOT, "mounts_of": OURS},
    "replicas.py": {"begin": OURS},
    "forked.py": {"begin": OURS, "_enter": HOST},
    "pool.py": {"_start": OURS},
    "told.py": {"last_line": OURS, "texts": HOST},
    "libraries.py": {"of": HOST},
    "cdi.py": {"*": HOST},
    "here.py": {"*": HOST},
    "grant.py": {"granted": OURS, "_soname": HOST, "_cache": ROOT},
    "stillness.py": {"*": INSIDE},
    "bundled.py": {"*": INSIDE},
    "worker.py": {"*": INSIDE},
    "becoming.py": {"*": INSIDE},
    "rehearsing.py": {"*": INSIDE},
    "leftovers.py": {"sweep": OURS, "_tidy": OURS},
    "resolving.py": {"put_resolver": OURS},
    "outputs.py": {"_write": OURS, "_take": OURS},
    "driving.py": {"write_facts": OURS},
    "requests.py": {"_look": OURS, "done": OURS, "put": OURS},
    "removal.py": {"*": DEAD},
    "roots.py": {"*": ROOT},
    "orphans.py": {"sweep": OURS},
    "company.py": {"_read": OURS},
    "run.py": {"*": OURS},
    "seen.py": {"prepare": OURS},
    "service.py": {"serve": OURS},
    "storage.py": {"last_attempt": OURS},
    "tracebacks.py": {"last_traceback": OURS},
    "merge.py": {"*": ROOT},
    "unpack.py": {"*": ROOT},
    "uploads.py": {"*": HOST},
    "usage.py": {
        "_below": COUNTED,
        "_make_readable": COUNTED,
        "unlinked": COUNTED,
        "in_memory": COUNTED,
        "descendants": HOST,
    },
    "watch.py": {"_measure": OURS},
    "visit.py": {"_visited": OURS, "_claimed": OURS, "_sweep": OURS, "_copy_code": HOST},
    "engines.py": {"*": HOST},
    "process.py": {"start": OURS},
    "enter.py": {"*": INSIDE},
    "entrance.py": {"*": HOST},
    "outlet.py": {"*": INSIDE},
    "owner.py": {"*": INSIDE},
    "init.py": {"*": INSIDE},
}
"""File → function → why it may touch files without the door; ``*`` for all of a file's functions."""


def calls(path: Path) -> Iterator[tuple[str, str, int]]:
    """Function, what is called, and line, of every call that touches files and is none of the door's."""

    def visit(node: ast.AST, function: str) -> Iterator[tuple[str, str, int]]:
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            if isinstance(child, ast.Call):
                called = child.func
                name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                of = ast.unparse(called.value) if isinstance(called, ast.Attribute) else ""
                # `replace` and `copy` are methods of records and texts, too; of files they are the module's.
                if name in CALLS and of != "door" and (name not in ("replace", "copy") or of in ("os", "shutil")):
                    yield function, f"{of}.{name}" if of else name, child.lineno
            yield from visit(child, inside)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), "")


def test_nothing_but_the_door_touches_what_a_task_could_have_made() -> None:
    strangers = []
    for path in sorted(SUBMIT.rglob("*.py")):
        argued = ARGUED.get(path.name, {})
        if path.name == "door.py" or "*" in argued:
            continue
        strangers += [
            f"{path.name}:{line} {name} calls {call}" for name, call, line in calls(path) if name not in argued
        ]
    assert strangers == []


def test_no_argument_is_without_a_call() -> None:
    there = {p.name: {name for name, _, _ in calls(p)} for p in SUBMIT.rglob("*.py")}
    for file, functions in ARGUED.items():
        for name in functions:
            assert there[file] if name == "*" else name in there[file], f"{file}: {name} touches no file"


def test_nothing_follows_a_path_into_what_tasks_write() -> None:
    """``meta`` and ``raw`` are named by whoever makes or mounts them, and opened by the door."""
    for path in sorted(SUBMIT.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for bad in (".attempt(", ".data(", ".checkpoints(", ".meta /", ".raw /"):
            for line in text.splitlines():
                if bad in line and any(f".{call}(" in line for call in CALLS):
                    raise AssertionError(f"{path.name}: {line.strip()}")
