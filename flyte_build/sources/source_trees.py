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
from ..kernel.struck import struck
from ..recipe import SourceTree
from ..recipe.source_trees import tree_files

__all__ = ["Git", "archive_of_commit", "archive_of_folder", "archived"]

_ARCHIVAL = ".git_archival.txt"
_DEPTH = 8
_REMOTE = re.compile(r"(https?|ssh|git)://|[\w.-]+@[\w.-]+:(?!:)", re.IGNORECASE)


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
    ``top``, with ``subdirectory`` only what is below that; gives the commit, 40 hex digits. Submodules are there, at
    the commits that the tree names.

    Raises :class:`FetchError` where git cannot fetch it, or has no such revision; :class:`RefusedError` without git and
    for a submodule whose address says nothing that may be asked.
    """
    if shutil.which("git") is None:
        raise RefusedError(f"{_shown(url)}: git is not installed, to fetch it", hint="apt-get install git")
    with scratch() as folder:
        git = Git.fetched(url, folder / "repository")
        commit = git.commit(rev)
        below = (subdirectory or "").strip("/")
        found = git.tree(commit, below)
        said = found.get(_ARCHIVAL)
        if said is None or b"$Format:" in said[0]:
            found[_ARCHIVAL] = git.archival(commit), 0o644
        _write(out, ((f"{top}/{path}", *found[path]) for path in sorted(found)))
        return commit


class Git:
    """One repository, bare, in ``folder``; what git says goes into :class:`FetchError`."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder, self._url, self._shown = folder, url, _shown(url)

    @classmethod
    def fetched(cls, url: str, folder: Path) -> Git:
        """The repository at ``url`` with all its branches and tags, in ``folder``."""
        git = cls(url, folder)
        git.run("init", "--quiet", "--bare", str(git.folder), at=None)
        every = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        git.run("fetch", "--quiet", "--no-write-fetch-head", "--no-recurse-submodules", url, *every)
        return git

    def run(self, *arguments: str, at: str | None = "", given: bytes | None = None) -> bytes:
        place = [] if at is None else ["--git-dir", str(self.folder)]
        env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        command = ["git", "-c", "core.hooksPath=/dev/null", *place, *arguments]
        done = subprocess.run(command, capture_output=True, env=env, input=given, check=False)
        if done.returncode:
            words = _shown(done.stderr.decode("utf-8", "replace").strip())
            raise FetchError(
                f"{self._shown}: git {arguments[0]} failed",
                hint="check the address, your credentials and the network: `git ls-remote` with it must work",
                detail=words,
            )
        return done.stdout

    def commit(self, rev: str | None) -> str:
        if rev is None:
            head = self.run("ls-remote", self._url, "HEAD").decode().split()
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
            self.run("fetch", "--quiet", "--no-write-fetch-head", self._url, f"{rev}:refs/asked")
        except FetchError as e:
            raise FetchError(
                f"{self._shown}: there is no revision `{rev}`",
                hint="name a commit, a tag or a branch that the repository has",
                detail=e.detail,
            ) from None
        return self.run("rev-parse", "--verify", "refs/asked^{commit}").decode().strip()

    def tree(self, commit: str, below: str, depth: int = 0) -> dict[str, tuple[bytes, int]]:
        """Contents and modes of the files below the folder ``below``, by their paths in it."""
        listed = self.run("ls-tree", "-r", "-z", "--full-tree", commit, *([f"{below}/"] if below else []))
        prefix = f"{below}/" if below else ""
        rows = [row.partition("\t") for row in listed.decode("utf-8", "surrogateescape").split("\0") if row]
        entries = {path.removeprefix(prefix): head.split() for head, _, path in rows}
        if not entries:
            raise FetchError(f"{self._shown}: commit {commit} has no folder `{below}`")
        modules = {path: found for path, (mode, _, found) in entries.items() if mode == "160000"}
        blobs = self._blobs({found for mode, _, found in entries.values() if mode != "160000"})
        links = {path: blobs[found].decode() for path, (mode, _, found) in entries.items() if mode == "120000"}
        contents = {
            path: (blobs[found], 0o755 if mode == "100755" else 0o644)
            for path, (mode, _, found) in entries.items()
            if mode.startswith("100")
        }
        for path, found in modules.items():
            inside = self._module(commit, prefix + path, found, depth)
            contents |= {f"{path}/{name}": held for name, held in inside.items()}
        return contents | {
            path: contents[at] for path, link in links.items() if (at := _beside(path, link)) in contents
        }

    def _module(self, commit: str, path: str, wanted: str, depth: int) -> dict[str, tuple[bytes, int]]:
        """The files of the submodule at ``path``: those of the commit ``wanted`` of the repository that it names."""
        try:
            keys = self.run("config", "--blob", f"{commit}:.gitmodules", "--list", "-z").decode("utf-8", "replace")
        except FetchError:
            keys = ""
        said = dict(row.split("\n", 1) for row in keys.split("\0") if "\n" in row)
        name = next((key[:-5] for key, value in said.items() if key.endswith(".path") and value == path), None)
        url = said.get(f"{name}.url", "")
        if url.startswith(("./", "../")):
            url = _relative(self._url, url)
        # As git itself has it, what a stranger's file names is not looked for on this machine.
        local = url.startswith("file:") and self._url.startswith("file:")
        if depth >= _DEPTH or not (local or _REMOTE.match(url)):
            raise RefusedError(
                f"{self._shown}: `{path}` is a submodule; expected an address of https, ssh or git, at most {_DEPTH} "
                f"deep, found `{_shown(url)}`",
                hint="build the wheel elsewhere, and add it with a folder of wheels",
            )
        inner = Git.fetched(url, self.folder.parent / f"{self.folder.name}-{wanted}")
        return inner.tree(inner.commit(wanted), "", depth + 1)

    def files(self, commit: str, name: str) -> dict[str, bytes]:
        """The files of this name in ``commit``, by path; none in folders whose names cannot be written plainly."""
        listed = self.run("ls-tree", "-r", "-z", "--full-tree", commit).decode("utf-8", "surrogateescape")
        rows = (row.partition("\t") for row in listed.split("\0") if row)
        plain = ((head, path) for head, _, path in rows if path.isprintable() and '"' not in path)
        found = {path: head.split() for head, path in plain if path.rpartition("/")[2] == name}
        blobs = self._blobs({digest for mode, _, digest in found.values() if mode.startswith("100")})
        return {path: blobs[digest] for path, (_, _, digest) in found.items() if digest in blobs}

    def _blobs(self, digests: set[str]) -> dict[str, bytes]:
        """Contents by their digests: ``DIGEST blob SIZE``, the bytes and a newline each (git-cat-file(1))."""
        if not digests:
            return {}
        data, at = self.run("cat-file", "--batch", given="\n".join(sorted(digests)).encode() + b"\n"), 0
        found = {}
        while at < len(data):
            end = data.index(b"\n", at)
            digest, _, size = data[at:end].decode().split()
            found[digest] = data[end + 1 : end + 1 + int(size)]
            at = end + 2 + int(size)
        return found

    def archival(self, commit: str) -> bytes:
        """As git writes it for ``export-subst`` (setuptools-scm, "Git archives")."""
        date = self.run("show", "--no-patch", "--format=%cI", commit).decode().strip()
        try:
            tag = self.run("describe", "--tags", "--match", "*[0-9]*", commit).decode().strip()
        except FetchError:
            tag = ""
        return f"node: {commit}\nnode-date: {date}\ndescribe-name: {tag}\n".encode()


def _beside(path: str, link: str) -> str:
    return os.path.normpath(os.path.join(os.path.dirname(path), link))


def _relative(url: str, path: str) -> str:
    """A submodule's relative address (gitmodules(5)): from its repository's own."""
    head, colon, rest = url.partition("://")
    if not colon:  # `user@host:path`
        head, colon, rest = url.partition(":")
    host, slash, at = rest.partition("/") if colon == "://" else ("", "", rest)
    return f"{head}{colon}{host}{slash}{os.path.normpath(os.path.join(at, path)).removeprefix('../')}"


def _write(out: Path, files: Iterable[tuple[str, bytes, int]]) -> None:
    """A tar of these paths, contents and modes: no times, no owners, not compressed."""
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for path, data, mode in files:
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o755 if mode & 0o100 else 0o644
            tar.addfile(member, io.BytesIO(data))


def _shown(url: str) -> str:
    return struck(re.sub(r"(://)[^/\s@]+@", r"\1***@", url))
