"""A driver's own cost where there is no cluster: one run of very many actions over the loopback, in a folder's storage.

    python -m tests.cluster.alone ACTIONS [MAPS [OPTIONS]]

prints what ``scale`` says of it. With MAPS it is a map of so many maps. OPTIONS are those of ``loopback``, as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.kubeconfig import write_kubeconfig

__all__ = ["alone"]

NAMESPACE = "team"
IMAGE = "registry.example/app@sha256:" + "a" * 64


def alone(actions: int, maps: int = 0, **options: Any) -> dict[str, Any]:
    """What the driver of ``actions`` took. Raises ``CalledProcessError``."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "storage").mkdir()
        storage = f"file://{folder}/storage"
        told = json.dumps({"log": 200, "outputs": storage, **options})
        words = [sys.executable, "-m", "tests.cluster.loopback", "0", told]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                port = int(server.stdout.readline())
                config = write_kubeconfig(folder / "kubeconfig", f"http://127.0.0.1:{port}", NAMESPACE)
                words = ["driver", str(config), NAMESPACE, storage, "{}", IMAGE, str(actions), str(maps)]
                command = [sys.executable, "-m", "tests.cluster.scale", *words]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
                found: dict[str, Any] = json.loads(done.stdout)
                return found
            finally:
                server.kill()


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    print(json.dumps(alone(*numbers, **json.loads(sys.argv[3] if len(sys.argv) > 3 else "{}"))))
