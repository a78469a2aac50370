"""A Git repository at a commit, or a folder, as an archive whose bytes are a function of what is in it.

What is fetched stays in a bare repository: nothing is checked out, so that no hook and no filter runs. Addresses,
credentials and proxies are git's own configuration. Where the tree has no ``.git_archival.txt`` of its own there is one
that says the commit and the tag before it, of which tools make versions that would else look for a ``.git``. Builds
nothing.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

from ..kernel.errors import FetchError, RefusedError
from ..kernel.scratch import scratch
from ..recipe import SourceTree
from ..recipe.source_trees import tree_files

__all__ = ["archive_of_commit", "archive_of_folder", "archived"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ARCHIVAL = ".git_archival.txt"


def archived(source: SourceTree, root: Path, commit: str | None, folder: Path) -> tuple[Path, str | None]:
    """The archive of ``source`` in ``folder``, of ``commit`` where one is given; with the commit that it is of.

    ``root`` is the project. Raises as :func:`archive_of_commit` does, and :class:`FetchError` for a folder that cannot
    be read.
    """
    stem = source.name or Path(source.path or source.git or "").name.removesuffix(".git") or "source"
    out = folder / f"{stem}.tar"
    if source.git is not None:
        return out, archive_of_commit(source.git, commit or source.rev, source.subdirectory, out, stem)
    try:
        archive_of_folder(root / str(source.path), out, stem)
    except OSError as e:
        raise FetchError(f"{source.path}: cannot be read: {e.strerror or e}") from None
    return out, None


def archive_of_folder(folder: Path, out: Path, top: str) -> None:
    """Write the files of ``folder`` to the tar ``out``, below ``top``. Raises :class:`OSError`."""
    _write(out, ((f"{top}/{path}", file.read_bytes(), os.stat(file).st_mode) for path, file in tree_files(folder)))


def archive_of_commit(url: str, rev: str | None, subdirectory: str | None, out: Path, top: str) -> str:
    """Write the tree of ``rev`` (a commit, tag or branch; ``None``: the default branch) to the tar ``out``, below
    ``top``, with ``subdirectory`` only what is below that; gives the commit, 40 hex digits.

    Raises :class:`FetchError` where git cannot fetch it, or has no such revision; :class:`RefusedError` without git and
    for a tree with submodules.
    """
    if shutil.which("git") is None:
        raise RefusedError(f"{_shown(url)}: git is not installed, to fetch it", hint="apt-get install git")
    with scratch() as folder:
        git = _Git(folder / "repository", _shown(url))
        git.run("init", "--quiet", "--bare", str(git.folder), at=None)
        git.run(
            "fetch", "--quiet", "--no-write-fetch-head", url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"
        )
        commit = git.commit(url, rev)
        _write(out, git.tree(commit, (subdirectory or "").strip("/"), top))
        return commit


class _Git:
    def __init__(self, folder: Path, shown: str) -> None:
        self.folder, self._shown = folder, shown

    def run(self, *arguments: str, at: str | None = "", given: bytes | None = None) -> bytes:
        place = [] if at is None else ["--git-dir", str(self.folder)]
        env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        command = ["git", "-c", "core.hooksPath=/dev/null", *place, *arguments]
        done = subprocess.run(command, capture_output=True, env=env, input=given, check=False)
        if done.returncode:
            words = re.sub(r"(://)[^/\s@]+@", r"\1***@", done.stderr.decode("utf-8", "replace").strip())
            raise FetchError(
                f"{self._shown}: git {arguments[0]} failed",
                hint="check the address, your credentials and the network: `git ls-remote` with it must work",
                detail=words,
            )
        return done.stdout

    def commit(self, url: str, rev: str | None) -> str:
        if rev is None:
            head = self.run("ls-remote", url, "HEAD").decode().split()
            rev = head[0] if head else "HEAD"
        for name in (rev, f"refs/tags/{rev}", f"refs/heads/{rev}"):
            try:
                return (
                    self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
                    .decode()
                    .strip()
                )
            except FetchError:
                continue
        # Of a pull request, say: servers give commits and references that no branch or tag has.
        try:
            self.run("fetch", "--quiet", "--no-write-fetch-head", url, f"{rev}:refs/asked")
        except FetchError as e:
            raise FetchError(
                f"{self._shown}: there is no revision `{rev}`",
                hint="name a commit, a tag or a branch that the repository has",
                detail=e.detail,
            ) from None
        return self.run("rev-parse", "--verify", "refs/asked^{commit}").decode().strip()

    def tree(self, commit: str, below: str, top: str) -> Iterable[tuple[str, bytes, int]]:
        listed = self.run("ls-tree", "-r", "-z", "--full-tree", commit, *([f"{below}/"] if below else []))
        prefix = f"{below}/" if below else ""
        rows = [row.partition("\t") for row in listed.decode("utf-8", "surrogateescape").split("\0") if row]
        entries = {path.removeprefix(prefix): head.split() for head, _, path in rows}
        if not entries:
            raise FetchError(f"{self._shown}: commit {commit} has no folder `{below}`")
        modules = [path for path, (mode, _, _) in entries.items() if mode == "160000"]
        if modules:
            raise RefusedError(
                f"{self._shown}: `{modules[0]}` is a submodule, whose repository no lock names",
                hint="build the wheel elsewhere, and add it with a folder of wheels",
            )
        blobs = self._blobs({found for _, _, found in entries.values()})
        links = {path: blobs[found].decode() for path, (mode, _, found) in entries.items() if mode == "120000"}
        contents = {path: blobs[found] for path, (mode, _, found) in entries.items() if mode.startswith("100")}
        contents |= {path: contents[at] for path, link in links.items() if (at := _beside(path, link)) in contents}
        said = contents.get(_ARCHIVAL)
        if said is None or b"$Format:" in said:
            contents[_ARCHIVAL] = self._archival(commit)
        for path in sorted(contents):
            mode = 0o755 if entries.get(path, [""])[0] == "100755" else 0o644
            yield f"{top}/{path}", contents[path], mode

    def _blobs(self, digests: set[str]) -> dict[str, bytes]:
        """Contents by their digests: ``DIGEST blob SIZE``, the bytes and a newline each (git-cat-file(1))."""
        data, at = self.run("cat-file", "--batch", given="\n".join(sorted(digests)).encode() + b"\n"), 0
        found = {}
        while at < len(data):
            end = data.index(b"\n", at)
            digest, _, size = data[at:end].decode().split()
            found[digest] = data[end + 1 : end + 1 + int(size)]
            at = end + 2 + int(size)
        return found

    def _archival(self, commit: str) -> bytes:
        """As git writes it for ``export-subst`` (setuptools-scm, "Git archives")."""
        date = self.run("show", "--no-patch", "--format=%cI", commit).decode().strip()
        try:
            tag = self.run("describe", "--tags", "--match", "*[0-9]*", commit).decode().strip()
        except FetchError:
            tag = ""
        return f"node: {commit}\nnode-date: {date}\ndescribe-name: {tag}\n".encode()


def _beside(path: str, link: str) -> str:
    return os.path.normpath(os.path.join(os.path.dirname(path), link))


def _write(out: Path, files: Iterable[tuple[str, bytes, int]]) -> None:
    """A tar of these paths, contents and modes: no times, no owners, not compressed."""
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for path, data, mode in files:
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o755 if mode & 0o100 else 0o644
            tar.addfile(member, io.BytesIO(data))


def _shown(url: str) -> str:
    return re.sub(r"(://)[^/\s@]+@", r"\1***@", url)
