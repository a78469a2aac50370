"""What importing a module of the project imports in turn, through the project's own modules.

Ends at everything that is not the project's, which ``wheels.contents`` judges against a lock. Knows nothing of locks;
reads syntax, imports nothing.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Sequence

from ....kernel.values import dataclass, replace
from ....project.conditions import Target
from ....project.source_files import LocalModule, Sources
from ....project.statements import Dynamic, Import, collect

__all__ = ["Importer", "Need", "Reached"]

_REQUIRED, _CONDITIONAL, _OPTIONAL = range(3)


@dataclass(frozen=True, slots=True)
class Need:
    """An import of something that is not the project's, in ``file`` (relative to the root).

    ``modules`` are the project's modules from the one asked about to the one that has the import.
    """

    what: Import
    file: str
    modules: tuple[str, ...]

    @property
    def required(self) -> bool:
        """Whether it failing stops the import of the module asked about."""
        return not self.what.optional


@dataclass(frozen=True, slots=True)
class Reached:
    """Everything that importing a module reaches: needs, imports that nobody can tell, files that cannot be read."""

    needs: tuple[Need, ...]
    dynamic: tuple[tuple[str, Dynamic], ...]
    unreadable: tuple[tuple[str, int, str], ...]
    modules: tuple[LocalModule, ...]


def _state(what: Import) -> int:
    return _OPTIONAL if what.optional or what.when_missing else _CONDITIONAL if what.conditional else _REQUIRED


class Importer:
    """Answers for one :class:`Target`; each file is read once."""

    def __init__(self, sources: Sources, target: Target) -> None:
        self._sources = sources
        self.target = target
        self._statements: dict[tuple[str, int], tuple[tuple[Import, ...], tuple[Dynamic, ...]]] = {}

    def statements(self, module: LocalModule, body: Sequence[ast.stmt]) -> tuple[Sequence[Import], Sequence[Dynamic]]:
        """The imports that running ``body`` (of a module, or of a function in it) makes, in order."""
        key = (module.name, id(body))
        if key not in self._statements:
            self._statements[key] = collect(body, module.package, self.target)
        return self._statements[key]

    def reached(self, module: LocalModule) -> Reached:
        """Everything that importing ``module`` imports at module level, through the project's own modules."""
        return self._walk([(m, (), _REQUIRED) for m in self._with_parents(module)])

    def reached_by(self, module: LocalModule, body: Sequence[ast.stmt]) -> Reached:
        """The same for running ``body``, a function's in ``module``."""
        return self._walk([], (module, body))

    def _with_parents(self, module: LocalModule) -> list[LocalModule]:
        parts = module.name.split(".")
        names = [".".join(parts[: i + 1]) for i in range(len(parts))]
        return [m for n in names if (m := self._sources.find(n)) is not None]

    def _walk(
        self,
        start: list[tuple[LocalModule, tuple[str, ...], int]],
        body: tuple[LocalModule, Sequence[ast.stmt]] | None = None,
    ) -> Reached:
        pending = deque(start)
        seen: dict[str, int] = {}
        needs: dict[Need, None] = {}
        dynamic: dict[tuple[str, Dynamic], None] = {}
        unreadable: dict[tuple[str, int, str], None] = {}
        modules: dict[str, LocalModule] = {}

        def statements(owner: LocalModule, run: Sequence[ast.stmt], chain: tuple[str, ...], state: int) -> None:
            assert owner.file is not None
            shown = self._sources.show(owner.file)
            imports, unknown = self.statements(owner, run)
            dynamic.update(dict.fromkeys((shown, d) for d in unknown))
            for item in imports:
                what = replace(
                    item,
                    optional=item.optional or state == _OPTIONAL,
                    conditional=item.conditional or state == _CONDITIONAL,
                )
                for local in self._locals(item):
                    pending.append((local, chain, _state(what)))
                if external := self._external(what):
                    needs[Need(external, shown, chain)] = None

        if body is not None:
            statements(body[0], body[1], (body[0].name,), _REQUIRED)
        while pending:
            module, chain, state = pending.popleft()
            # Reached again under fewer conditions, its imports count for more.
            if module.name in seen and state >= seen[module.name]:
                continue
            seen[module.name] = state
            modules[module.name] = module
            if module.file is None or module.file.suffix != ".py":
                continue
            tree = self._sources.tree(module.file)
            if tree is None:
                why = self._sources.unreadable[module.file]
                unreadable[self._sources.show(module.file), why.line, why.reason] = None
                continue
            statements(module, tree.body, (*chain, module.name), state)
        return Reached(tuple(needs), tuple(dynamic), tuple(unreadable), tuple(modules.values()))

    def _locals(self, item: Import) -> list[LocalModule]:
        """The project's modules that the import runs: the module, the packages above it, submodules among its names."""
        found: list[LocalModule] = []
        parts = item.module.split(".")
        for i in range(len(parts)):
            local = self._sources.find(".".join(parts[: i + 1]))
            if local is None:
                return found
            found.append(local)
        for name in item.names if found[-1].folders else ():
            inner = self._sources.find(f"{item.module}.{name}")
            if inner is not None:
                found.append(inner)
        return found

    def _external(self, item: Import) -> Import | None:
        """What of the import is not the project's."""
        local = self._sources.find(item.module)
        if local is None:
            return item
        if local.file is not None:
            return None
        # A namespace package may have other portions in an installed distribution (PEP 420).
        others = tuple(n for n in item.names if self._sources.find(f"{item.module}.{n}") is None)
        return replace(item, names=others) if others else None
