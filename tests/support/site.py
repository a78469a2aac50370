"""A place to work at with the real SDK: an index, a Debian archive, an image registry and a backend, on the loopback.

Commands run in processes of their own, as people run them: ``flyte …``, ``python main.py``. Everything they send is
kept by the servers, so a test can look at what a real backend would have got.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyte_build.sources import mirrors

from .archive import Server, Signer, serve
from .backend import Backend
from .index import SimpleIndex
from .offline import FLYTE, Ran, publish_base
from .registry import RegistryServer
from .wheels import build_wheel

__all__ = ["AF2", "Site", "flyte_configuration", "image_lookup", "images_of", "opened_site"]

_STRANGERS = ("PIP_", "UV_", "FLYTE", "XDG_", "UCTL_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
TIMEOUT = 120

# The shape of the seed: two environments of other modules, a third that extends the first one's image, a script.
AF2 = {
    "fold/__init__.py": "",
    "fold/run.py": """
        import flyte

        fold_image = flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("alpha")
        fold_env = flyte.TaskEnvironment(name="fold_env", image=fold_image)


        @fold_env.task
        def run_fold(sequence: str, msa: str) -> list[str]:
            return [sequence, msa]
        """,
    "msa/__init__.py": "",
    "msa/run.py": """
        import sys

        import flyte

        # Without an image where the default one is of a Python that the archive here has.
        image = "auto" if sys.version_info[:2] == (3, 11) else flyte.Image.from_debian_base(python_version=(3, 11))
        msa_env = flyte.TaskEnvironment(name="msa_env", image=image)


        @msa_env.task
        def run_msa(sequence: str) -> str:
            return sequence
        """,
    "main.py": """
        import logging
        import pathlib

        import flyte
        from fold.run import fold_env, fold_image, run_fold
        from msa.run import msa_env, run_msa

        main_image = fold_image.with_pip_packages("beta")
        env = flyte.TaskEnvironment(name="multi_env", depends_on=[fold_env, msa_env], image=main_image)


        @env.task
        def main(sequence: str) -> list[str]:
            return run_fold(sequence, run_msa(sequence))


        if __name__ == "__main__":
            import flyte_build

            flyte.init_from_config(root_dir=pathlib.Path(__file__).parent, log_level=logging.INFO)
            with flyte_build.pinned(main):
                r = flyte.run(main, "AAGGTTCCAA")
            print(r.name)
            print(r.url)
        """,
}


@dataclass
class Site:
    """``home``: caches and state of the processes. What ``run`` is given by name goes into their environment."""

    home: Path
    index: SimpleIndex
    archive: Server
    registry: RegistryServer
    backend: Backend
    keyring: Path
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_STRANGERS)}
        return kept | {
            "FLYTE_BUILD_CACHE": str(self.home / "cache"),
            "FLYTE_BUILD_STATE": str(self.home / "state"),
            "FLYTE_BUILD_REGISTRY": f"{self.registry.host}/team",
            mirrors.MAIN_MIRROR: f"{self.archive.url}/debian",
            mirrors.SECURITY_MIRROR: f"{self.archive.url}/debian-security",
            mirrors.SNAPSHOT_MIRROR: "off",
            "FLYTE_BUILD_DEBIAN_KEYRING": str(self.keyring),
            "UV_DEFAULT_INDEX": self.index.url,
            "UV_CACHE_DIR": str(self.home / "uv"),
            "PIP_CONFIG_FILE": os.devnull,
            "HOME": str(self.home),
            "DOCKER_CONFIG": str(self.home / "docker"),
            "NO_COLOR": "1",
            "COLUMNS": "200",
            "DO_NOT_TRACK": "1",
            **self.variables,
        }

    def write(self, folder: Path, files: Mapping[str, str]) -> Path:
        """A project, with a configuration that leads to the backend here; its folder."""
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip())
        self.configure(folder)
        return folder

    def configure(self, folder: Path, builder: str = "local", **image: str) -> None:
        (folder / "config.yaml").write_text(flyte_configuration(self.backend, builder=builder, **image))

    def run(self, *command: str | Path, cwd: Path, **variables: str) -> Ran:
        """``flyte`` and ``flyte-build`` are this interpreter's, as is ``python``."""
        program = Path(sys.executable).parent / str(command[0])
        done = subprocess.run(
            [sys.executable if command[0] == "python" else str(program), *map(str, command[1:])],
            cwd=cwd,
            env=self.environment() | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def ok(self, *command: str | Path, cwd: Path, **variables: str) -> Ran:
        done = self.run(*command, cwd=cwd, **variables)
        assert done.code == 0, f"exit code {done.code}\n{done.out}\n{done.err}"
        return done

    def there(self, reference: str) -> bool:
        """Whether the registry has a manifest of this digest in that repository."""
        name, _, digest = reference.removeprefix(f"{self.registry.host}/").partition("@")
        return digest in self.registry.repositories[name].manifests


def flyte_configuration(backend: Backend, **image: str) -> str:
    """The text of the SDK's configuration file; ``image``: its section about images."""
    rows = "".join(f"  {key}: {value}\n" for key, value in image.items())
    return (
        f"admin:\n  endpoint: dns:///{backend.endpoint}\n  insecure: true\ntask:\n  org: o\n  project: p\n  domain: d\n"
    ) + (f"image:\n{rows}" if rows else "")


@contextmanager
def opened_site(home: Path) -> Iterator[Site]:
    """All servers, with the packages ``flyte``, ``alpha`` and ``beta`` published."""
    signer = Signer(home / "key")
    with ExitStack() as stack:
        stack.callback(signer.close)
        for name in ("www", "wheels", "docker"):
            (home / name).mkdir()
        publish_base(home / "www", signer)
        build_wheel(home / "wheels", "flyte", FLYTE)
        build_wheel(home / "wheels", "alpha", "1.0")
        build_wheel(home / "wheels", "beta", "1.0", requires=["alpha"])
        yield Site(
            home,
            stack.enter_context(SimpleIndex(home / "wheels")),
            stack.enter_context(serve(home / "www")),
            stack.enter_context(RegistryServer()),
            stack.enter_context(Backend()),
            signer.keyring,
        )


def image_lookup(template: Any) -> dict[str, str]:
    """What ``--image-cache`` of a task template tells the runtime: environment → image; empty without it."""
    arguments = list(template.container.args)
    if "--image-cache" not in arguments:
        return {}
    packed = arguments[arguments.index("--image-cache") + 1]
    found: dict[str, str] = json.loads(gzip.decompress(base64.b64decode(packed)))["image_lookup"]
    return found


def images_of(template: Any) -> set[str]:
    """Every image that a task template names."""
    return {template.container.image, *image_lookup(template).values()}
