"""Inside a sandbox, by the image's Python: one source distribution → its wheel (PEP 517). Standard library only.

    python /build/run.py

``/build/told.json`` has ``archive``, ``backend`` and ``path``. The source is unpacked to a fixed place, as compilers
write its name into what they make. What the backend asks for besides and is not there is told in
``/build/out/requires.json``, and nothing is built then; else ``/build/out`` has the wheel, and nothing else is left.
"""

import importlib
import importlib.metadata
import json
import os
import re
import shutil
import sys
import tarfile
import zipfile


def unpack(archive: str) -> str:
    """The folder that the archive holds (PEP 625; older ones may be zip files)."""
    os.mkdir("/build/source")
    if archive.endswith(".zip"):
        with zipfile.ZipFile(archive) as found:
            found.extractall("/build/source")
    else:
        with tarfile.open(archive) as found:
            if hasattr(tarfile, "data_filter"):
                found.extraction_filter = tarfile.data_filter
            found.extractall("/build/source")
    tops = os.listdir("/build/source")
    return f"/build/source/{tops[0]}" if len(tops) == 1 else "/build/source"


def missing(requirements: "list[str]") -> "list[str]":
    """Those of ``requirements`` whose distribution is not there; versions are the resolver's affair."""
    out = []
    for text in requirements:
        name = re.sub(r"[^A-Za-z0-9._-].*", "", text.strip(), flags=re.DOTALL)
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            out.append(text)
    return out


def main() -> None:
    with open("/build/told.json", encoding="utf-8") as f:
        told = json.load(f)
    source = unpack(told["archive"])
    os.chdir(source)
    sys.path[:0] = [os.path.join(source, folder) for folder in told["path"]]
    module, _, attributes = told["backend"].partition(":")
    backend = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        backend = getattr(backend, attribute)
    os.mkdir("/build/out")
    asked = getattr(backend, "get_requires_for_build_wheel", None)
    lacking = missing(asked({})) if asked is not None else []
    if lacking:
        with open("/build/out/requires.json", "w", encoding="utf-8") as f:
            json.dump(lacking, f)
    else:
        backend.build_wheel("/build/out", {}, None)
    os.chdir("/")
    shutil.rmtree("/build/source")


if __name__ == "__main__":
    main()
