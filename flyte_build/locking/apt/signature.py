"""The signature of a Release file: only the text that gpgv or sqv hands back is ever read.

An ``InRelease`` file is OpenPGP cleartext (RFC 9580, section 7): text outside the signed part is possible, so
the file itself is never parsed. The keys are those of Debian's archive as the host has them
(``debian-archive-keyring``), or of ``$FLYTE_BUILD_DEBIAN_KEYRING``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...kernel.errors import FetchError, InputError, RefusedError
from ...kernel.scratch import scratch

__all__ = ["KEYRING", "keyrings", "verified_text"]

KEYRING = "FLYTE_BUILD_DEBIAN_KEYRING"

_FOLDER = Path("/usr/share/keyrings")
_SECONDS = 60


def keyrings(environ: Mapping[str, str] | None = None, folder: Path = _FOLDER) -> list[Path]:
    """The keyrings of Debian's archive on this host; raises :class:`RefusedError` where there are none.

    The package's one keyring of all current keys is enough where it exists; the keys that Debian has withdrawn
    (``…-removed-keys``) are never used.
    """
    env = os.environ if environ is None else environ
    named = env.get(KEYRING)
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise InputError(f"${KEYRING}: expected a keyring file, found nothing at `{named}`")
        return [path]
    for name in ("debian-archive-keyring.pgp", "debian-archive-keyring.gpg"):
        if (folder / name).is_file():
            return [folder / name]
    single = sorted(p for p in folder.glob("debian-archive-*") if p.suffix in (".gpg", ".pgp"))
    found = [p for p in single if "removed" not in p.name]
    if not found:
        raise RefusedError(
            f"expected the keys of Debian's archive as {folder}/debian-archive-*, found none: "
            "without them no Release file can be verified",
            hint=f"sudo apt-get install debian-archive-keyring, or set ${KEYRING} to a keyring file",
        )
    return found


def verified_text(signed: bytes, rings: Sequence[Path], what: str) -> str:
    """The signed text of the cleartext-signed ``signed``, as the verifier wrote it.

    ``what`` names the file in messages. Raises :class:`FetchError` when no known key made a good signature or
    any signature is bad, :class:`RefusedError` when neither gpgv nor sqv is installed.
    """
    gpgv, sqv = shutil.which("gpgv"), shutil.which("sqv")
    if gpgv is None and sqv is None:
        raise RefusedError(
            "expected gpgv or sqv to verify Debian's Release files, found neither",
            hint="sudo apt-get install gpgv",
        )
    with scratch() as folder:
        message, text = Path(folder, "InRelease"), Path(folder, "text")
        message.write_bytes(signed)
        problem = _gpgv(gpgv, rings, message, text) if gpgv else _sqv(str(sqv), rings, message, text)
        if problem is None:
            try:
                return text.read_text(encoding="utf-8")
            except FileNotFoundError:
                problem = "nothing in it is signed"
            except UnicodeDecodeError:
                problem = "its signed text is not UTF-8"
    raise FetchError(
        f"{what}: expected a good signature by a key of {', '.join(str(r) for r in rings)}: {problem}",
        hint="the mirror may be tampered with or half updated, or the host's debian-archive-keyring too old",
    )


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    # A home of its own keeps the user's GnuPG settings and keys out of the verdict.
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "GNUPGHOME": str(Path(command[-1]).parent)}
    try:
        return subprocess.run(
            command, capture_output=True, timeout=_SECONDS, text=True, errors="replace", check=False, env=env
        )
    except (OSError, subprocess.SubprocessError) as e:
        raise FetchError(f"{command[0]}: {e}") from None


def _gpgv(tool: str, rings: Sequence[Path], message: Path, text: Path) -> str | None:
    """Like apt: one good signature suffices, signatures of unknown keys are passed over, a bad one is fatal.

    gpgv's exit status cannot tell these apart; its status lines (GnuPG, doc/DETAILS) can.
    """
    options = [o for ring in rings for o in ("--keyring", str(ring.absolute()))]
    done = _run([tool, "--status-fd", "1", "--weak-digest", "SHA1", *options, "--output", str(text), str(message)])
    words = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("[GNUPG:] ")]
    seen = {w[0] for w in words if w}
    unknown = {w[1] for w in words if w[:1] == ["NO_PUBKEY"]}
    failed = [w for w in words if w[:1] == ["ERRSIG"] and w[1] not in unknown]
    if "BADSIG" in seen:
        return "BAD signature, the text was altered"
    if seen & {"GOODSIG"} and seen & {"VALIDSIG"} and not failed and done.returncode in (0, 2):
        return None
    if seen & {"EXPKEYSIG", "EXPSIG"}:
        return "the signature or its key has expired"
    if "REVKEYSIG" in seen:
        return "the key was revoked"
    if unknown:
        return f"signed by unknown keys only ({', '.join(sorted(unknown))})"
    return "not signed" if "NODATA" in seen or not seen else _last_line(done.stderr)


def _sqv(tool: str, rings: Sequence[Path], message: Path, text: Path) -> str | None:
    options = [o for ring in rings for o in ("--keyring", str(ring.absolute()))]
    done = _run([tool, *options, "--output", str(text), "--cleartext", str(message)])
    # sqv writes its output even when it fails: the status alone decides.
    return None if done.returncode == 0 else _last_line(done.stderr)


def _last_line(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "the verifier gave no reason"
