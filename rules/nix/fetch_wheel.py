"""One locked wheel by the locked pip, inside a fixed-output derivation: the only builder that may use a network.

    python -I -S -B fetch_wheel.py NAME VERSION FILE SHA256 PYTHON OUT

Where from is pip's configuration, as the caller has it (docs/nix.md): its variables, and a configuration file where
the sandbox shows one. What is fetched is one file by its hash, so neither can change what comes out.
"""

import os
import runpy
import ssl
import sys
from pathlib import Path

# /usr/lib/python3.11/os.py of the unpacked packages.
ROOT = Path(os.__file__).parents[3]


def authorities() -> str:
    """A CA bundle: the caller's, where the sandbox shows it, else the locked ca-certificates'."""
    for variable in ("PIP_CERT", "SSL_CERT_FILE", "NIX_SSL_CERT_FILE"):
        path = os.environ.pop(variable, "")
        if path and os.access(path, os.R_OK):
            return path
    bundle = Path.cwd() / "ca-certificates.pem"
    locked = sorted((ROOT / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    bundle.write_text("\n".join(path.read_text(encoding="ascii") for path in locked), encoding="ascii")
    ssl.create_default_context(cafile=str(bundle))
    return str(bundle)


def options(file: str, python: str) -> list[str]:
    """pip's options that make it take `file` for one that is wanted, whatever machine this is."""
    _, abis, platforms = file.removesuffix(".whl").rsplit("-", 3)[1:]
    chosen = [f"--platform={platform}" for platform in platforms.split(".")]
    # An ABI such as abi3 is one that pip derives; a definite one has to be named.
    chosen += [f"--abi={abi}" for abi in abis.split(".") if abi not in ("abi3", "none")]
    return [*chosen, f"--python-version={python}", "--implementation=cp", "--only-binary=:all:"]


def main(name: str, version: str, file: str, sha256: str, python: str, out: str) -> None:
    Path("requirements.txt").write_text(f"{name}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
    # A builder's home does not exist; pip looks there for its configuration.
    os.environ["HOME"] = os.getcwd()
    bundle = authorities()
    sys.path.append(str(ROOT / "usr/lib/python3/dist-packages"))
    sys.argv = [
        *("pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-input", "--no-deps"),
        *(f"--cert={bundle}", "--require-hashes", "--requirement=requirements.txt", "--dest=found"),
        *options(file, python),
    ]
    try:
        runpy.run_module("pip", run_name="__main__", alter_sys=True)
    except SystemExit as e:
        if e.code:
            print(
                f"{file}: pip, configured as this builder sees it, did not bring it; `flyte-build nix prefetch` puts "
                "it into the Nix store from the indexes that are configured outside (docs/nix.md)",
                file=sys.stderr,
            )
            raise
    (found,) = Path("found").iterdir()
    Path(out).write_bytes(found.read_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
