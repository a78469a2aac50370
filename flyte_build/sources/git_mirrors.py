"""Copies of repositories in which a commit says what only a build backend would tell: for uv to read.

uv reads what a package requires off the pyproject.toml of a commit, with the sources that stand there, and runs nothing
for it. Where that file leaves something to a backend, the copy has another commit in the place of that one. uv is led
to copies by git's own configuration (git-config(1), ``url.<base>.insteadOf``), and knows the address only. The
repositories themselves are read, once each; nothing is checked out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from .source_trees import Git

__all__ = ["Mirrors"]

_MANIFEST = "pyproject.toml"


class Mirrors:
    """``folder`` is for the copies, one for each address. All methods raise what fetching a repository raises."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, Git] = {}
        self._places: dict[str, Path] = {}
        self._files: dict[tuple[str, str], dict[str, bytes]] = {}
        self._theirs: dict[str, str] = {}
        self._ours: dict[str, str] = {}

    @property
    def commits(self) -> Mapping[str, str]:
        """The repositories' own commits, by those that stand for them."""
        return dict(self._theirs)

    def ours(self, commit: str) -> str:
        """The commit that stands for ``commit``; itself where none does."""
        return self._ours.get(commit, commit)

    def environment(self) -> dict[str, str]:
        """The variables by which git goes to the copies (git-config(1), ``GIT_CONFIG_COUNT``)."""
        first = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
        out = {"GIT_CONFIG_COUNT": str(first + len(self._places))}
        for n, (url, place) in enumerate(self._places.items(), first):
            out |= {f"GIT_CONFIG_KEY_{n}": f"url.{place.as_uri()}.insteadOf", f"GIT_CONFIG_VALUE_{n}": url}
        return out if self._places else {}

    def manifests(self, url: str, commit: str) -> dict[str, bytes]:
        """Every pyproject.toml of ``commit``, as it is told, by its path."""
        git = self._opened(url)
        theirs = self._theirs.get(commit, commit)
        return git.files(theirs, _MANIFEST) | self._files.get((url, theirs), {})

    def commit(self, url: str, rev: str | None) -> str:
        """The repository's own commit that ``rev`` leads to."""
        found = self._opened(url).commit(rev)
        return self._theirs.get(found, found)

    def tell(self, url: str, commit: str, files: Mapping[str, bytes]) -> str:
        """The commit that stands for ``commit`` from now on, in which ``files`` are these."""
        git, theirs = self._opened(url), self._theirs.get(commit, commit)
        told = self._files.setdefault((url, theirs), {})
        told |= files
        before = {theirs, self.ours(theirs)}
        ref = f"refs/told/{theirs}"
        lines = [f"commit {ref}\ncommitter told <told> 0 +0000\ndata 0\nfrom {theirs}\n".encode()]
        lines += [
            f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n" for path, data in sorted(told.items())
        ]
        # Every path is a repository's own, as `manifests` gives them, or uv's word: none has a line's end.
        git.run("fast-import", "--quiet", "--force", given=b"".join(lines))
        made = git.run("rev-parse", "--verify", ref).decode().strip()
        self._theirs[made], self._ours[theirs] = theirs, made
        rows = git.run("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)", "refs/heads", "refs/tags")
        for name, *at in (row.split() for row in rows.decode().splitlines()):
            if before & {*at}:
                git.run("update-ref", name, made)
        if git.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}").decode().strip() in before:
            git.run("update-ref", "HEAD", made)
        return made

    def astray(self, words: str) -> bool:
        """Whether git's ``words`` are of a repository whose address only begins like one that has a copy, as git's
        configuration goes by beginnings; it has one now, too."""
        found = re.search(rf"{re.escape(str(self._folder))}/(\d+)\.git([^\s'\"`@]+)", words)
        if found is None:
            return False
        self._opened(list(self._places)[int(found[1])] + found[2])
        return True

    def _opened(self, url: str) -> Git:
        if url not in self._held:
            self._folder.mkdir(exist_ok=True)
            place = self._folder / f"{len(self._places)}.git"
            git = Git.fetched(url, place)
            words = git.run("ls-remote", "--symref", url, "HEAD").decode().split()
            if words[:1] == ["ref:"]:
                git.run("symbolic-ref", "HEAD", words[1])
            elif words:
                git.run("update-ref", "--no-deref", "HEAD", words[0])
            git.run("config", "uploadpack.allowAnySHA1InWant", "true")
            self._held[url], self._places[url] = git, place
        return self._held[url]
