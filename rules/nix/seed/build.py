"""The seeds from their source: ``undeb.zig``, compiled for every system with the Zig compiler of a wheel.

    python rules/nix/seed/build.py WHEEL OUT

``WHEEL`` is the one that ``zig.json`` names for this machine (`pip download ziglang==VERSION`); its SHA-256 is checked.
``OUT`` becomes a folder with one program a system. What is committed beside this file was made by this command, and a
test makes it again and compares: the compiler has all it needs inside, so the bytes depend on wheel and source, and not
on the folder or the machine it runs in. Standard library only. Uses no network.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SYSTEMS = ("x86_64-linux", "aarch64-linux")
# No libc and no dynamic linking; the processor every machine of the architecture has at least; checks stay in:
# what is unpacked was locked by hash, but an archive that is wrong must end in an error, not in surprises.
FLAGS = ("-O", "ReleaseSafe", "-mcpu=baseline", "-fstrip", "-fsingle-threaded", "--name", "undeb")


def main(wheel: Path, out: Path) -> None:
    """Build every seed into the folder ``out``; raises where the wheel is not the locked one or Zig fails."""
    with open(wheel, "rb") as f:
        found = hashlib.file_digest(f, "sha256").hexdigest()
    locked = {row["sha256"]: row for row in json.loads((HERE / "zig.json").read_text()).values()}
    if found not in locked:
        raise SystemExit(f"{wheel}: expected a wheel of zig.json, found SHA-256 {found}")
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="seed-"))
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(work / "wheel")
        zig = work / "wheel" / "ziglang" / "zig"
        zig.chmod(0o755)
        # From a folder of the work's own, so that no path of this machine can get in.
        shutil.copyfile(HERE / "undeb.zig", work / "undeb.zig")
        for system in SYSTEMS:
            target = f"{system}-musl"
            command = [str(zig), "build-exe", "undeb.zig", *FLAGS, "-target", target, f"-femit-bin={system}"]
            caches = {"ZIG_GLOBAL_CACHE_DIR": str(work / "cache"), "ZIG_LOCAL_CACHE_DIR": str(work / "cache")}
            subprocess.run(command, cwd=work, env=caches, check=True)
            made = out / f"undeb-{system}"
            shutil.copyfile(work / system, made)
            os.chmod(made, 0o755)
            print(hashlib.sha256(made.read_bytes()).hexdigest(), made.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
