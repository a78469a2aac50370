"""Dataclasses whose methods are compiled when they are first used: a process pays for the few that it makes.

``dataclasses`` writes five functions for each class and compiles them while it is imported, and imports ``inspect`` to
do so: half a millisecond a class, and a build that changes one layer imports fifty and makes values of twenty. Here
comparing, hashing and showing need no code of their own, and the constructor is compiled by the first call.

What comes out is what ``dataclasses`` makes, to itself, too: ``fields``, ``replace``, ``asdict`` and a subclass by it
work. To a type checker this *is* ``dataclasses``. Not here, and refused: ``order``, ``kw_only``, ``unsafe_hash``,
``InitVar``. A package that no short process imports has no need of it.
"""

from __future__ import annotations

from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass, field, replace
    from typing import Any

__all__ = ["dataclass", "field", "replace"]

# Ours, in the class: the fields by name, in order.
_OURS = "__value_fields__"
_MISSING = object()


class _Field:
    """What is known of one field. ``default`` and ``factory`` are ``_MISSING`` where there is none."""

    __slots__ = ("compare", "default", "factory", "init", "name", "repr", "type")

    def __init__(self, default: object, factory: object, init: bool, repr: bool, compare: bool) -> None:
        self.name, self.type = "", ""
        self.default, self.factory, self.init, self.repr, self.compare = default, factory, init, repr, compare

    def of_dataclasses(self) -> Any:
        """As ``dataclasses`` has it."""
        import dataclasses

        given: dict[str, Any] = {"default": self.default, "default_factory": self.factory}
        given = {name: value for name, value in given.items() if value is not _MISSING}
        made: Any = dataclasses.field(init=self.init, repr=self.repr, compare=self.compare, **given)
        made.name, made.type, made.kw_only, made._field_type = self.name, self.type, False, vars(dataclasses)["_FIELD"]
        return made


class _Told:
    """A class attribute that ``dataclasses`` looks for, made when it does."""

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self.name, self.make = name, make

    def __get__(self, instance: object, owner: type) -> Any:
        made = self.make()
        for cls in owner.__mro__:
            if cls.__dict__.get(self.name) is self:
                setattr(cls, self.name, made)
        return made


if not TYPE_CHECKING:

    def field(*, default=_MISSING, default_factory=_MISSING, init=True, repr=True, compare=True):
        """``dataclasses.field``, of what is supported here."""
        return _Field(default, default_factory, init, repr, compare)

    def dataclass(cls=None, /, *, frozen=False, slots=False, eq=True):
        """``dataclasses.dataclass``, of what is supported here."""
        if cls is None:
            return lambda cls: _made(cls, frozen, slots, eq)
        return _made(cls, frozen, slots, eq)

    def replace(value, /, **changes):
        """``dataclasses.replace``."""
        cls = type(value)
        fields = getattr(cls, _OURS, None)
        if fields is None or ("__dataclass_fields__" in cls.__dict__ and _OURS not in cls.__dict__):
            import dataclasses

            return dataclasses.replace(value, **changes)
        for one in fields.values():
            if one.init:
                if one.name not in changes:
                    changes[one.name] = getattr(value, one.name)
            elif one.name in changes:
                raise ValueError(f"field {one.name} is declared with init=False, it cannot be specified with replace()")
        return cls(**changes)


def _made(cls: Any, frozen: bool, slots: bool, eq: bool) -> Any:
    inherited: dict[str, _Field] = {}
    for base in cls.__mro__[-1:0:-1]:
        inherited |= base.__dict__.get(_OURS, {})
    own = _own_fields(cls)
    fields = inherited | own
    _check_order(cls, fields)
    for one in own.values():
        if one.default is not _MISSING:
            setattr(cls, one.name, one.default)
        elif one.name in cls.__dict__:
            delattr(cls, one.name)
    # The class that comes out, which with slots is another one.
    final: list[Any] = []
    attributes = _attributes(final, fields, frozen, eq)
    explicit = cls.__dict__.get("__hash__", _MISSING)
    for name, made in attributes.items():
        if name == "__hash__":
            # `class` sets it to None where there is an `__eq__`: that is not somebody's wish.
            if explicit is _MISSING or (explicit is None and "__eq__" in cls.__dict__):
                setattr(cls, name, made)
        elif name not in cls.__dict__:
            setattr(cls, name, made)
        elif name in ("__setattr__", "__delattr__"):
            raise TypeError(f"Cannot overwrite attribute {name} in class {cls.__name__}")
    if slots:
        cls = _with_slots(cls, own, frozen)
    final.append(cls)
    return cls


def _own_fields(cls: Any) -> dict[str, _Field]:
    found: dict[str, _Field] = {}
    for name, said in cls.__annotations__.items():
        words = said if isinstance(said, str) else str(said)
        if words.startswith(("ClassVar", "typing.ClassVar")):
            continue
        if words.startswith(("InitVar", "dataclasses.InitVar")) or words == "KW_ONLY":
            raise TypeError(f"{cls.__qualname__}.{name}: {words} is not supported: take `dataclasses`")
        given = cls.__dict__.get(name, _MISSING)
        if type(given).__name__ == "member_descriptor":
            given = _MISSING  # a slot of its own
        one = given if isinstance(given, _Field) else _Field(given, _MISSING, True, True, True)
        if one.default is not _MISSING and type(one.default).__hash__ is None:
            raise ValueError(
                f"mutable default {type(one.default)} for field {name} is not allowed: use default_factory"
            )
        one.name, one.type = name, said
        found[name] = one
    return found


def _check_order(cls: Any, fields: dict[str, _Field]) -> None:
    before = None
    for one in fields.values():
        if one.init and one.default is _MISSING and one.factory is _MISSING:
            if before is not None:
                raise TypeError(f"non-default argument {one.name!r} follows default argument {before!r}")
        elif one.init:
            before = one.name


def _attributes(final: list[Any], fields: dict[str, _Field], frozen: bool, eq: bool) -> dict[str, object]:
    """What a class gets unless it has its own."""

    def __init__(self: Any, /, *args: Any, **kwargs: Any) -> None:
        made = _constructor(final[0], fields, frozen)
        if final[0].__dict__.get("__init__") is __init__:
            final[0].__init__ = made
        made(self, *args, **kwargs)

    shown = [one.name for one in fields.values() if one.repr]

    def __repr__(self: Any) -> str:
        inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({inside})"

    made: dict[str, Any] = {
        "__init__": __init__,
        "__repr__": __repr__,
        "__match_args__": tuple(one.name for one in fields.values() if one.init),
        _OURS: fields,
        "__dataclass_fields__": _Told(
            "__dataclass_fields__", lambda: {name: one.of_dataclasses() for name, one in fields.items()}
        ),
        "__dataclass_params__": _Told("__dataclass_params__", lambda: _params(frozen, eq)),
    }
    if eq:
        compared = _getter([one.name for one in fields.values() if one.compare])

        def __eq__(self: Any, other: Any) -> Any:
            if other.__class__ is not self.__class__:
                return NotImplemented
            return compared(self) == compared(other)

        def __hash__(self: Any) -> int:
            return hash(compared(self))

        made |= {"__eq__": __eq__, "__hash__": __hash__ if frozen else None}
    if frozen:

        def __setattr__(self: Any, name: str, value: object) -> None:
            if type(self) is final[0] or name in fields:
                raise _frozen(f"cannot assign to field {name!r}")
            super(final[0], self).__setattr__(name, value)

        def __delattr__(self: Any, name: str) -> None:
            if type(self) is final[0] or name in fields:
                raise _frozen(f"cannot delete field {name!r}")
            super(final[0], self).__delattr__(name)

        made |= {"__setattr__": __setattr__, "__delattr__": __delattr__}
    return made


def _getter(names: list[str]) -> Callable[[Any], Any]:
    """A value's fields as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _frozen(message: str) -> Exception:
    from dataclasses import FrozenInstanceError

    return FrozenInstanceError(message)


def _params(frozen: bool, eq: bool) -> Any:
    from dataclasses import dataclass as theirs

    like: Any = theirs(frozen=frozen, eq=eq)(type("Like", (), {}))
    return like.__dataclass_params__


def _constructor(cls: Any, fields: dict[str, _Field], frozen: bool) -> Any:
    """The function that ``dataclasses`` would have written; text that is ours, with fields' names in it."""
    known: dict[str, Any] = {"_set": object.__setattr__, "_missing": _MISSING}
    asked, body = ["self"], []
    for one in fields.values():
        value = one.name
        if one.factory is not _MISSING:
            known[f"_make_{one.name}"] = one.factory
            value = f"_make_{one.name}()"
            if one.init:
                asked.append(f"{one.name}=_missing")
                value = f"{value} if {one.name} is _missing else {one.name}"
        elif one.init and one.default is not _MISSING:
            known[f"_default_{one.name}"] = one.default
            asked.append(f"{one.name}=_default_{one.name}")
        elif one.init:
            asked.append(one.name)
        elif one.default is not _MISSING and "__slots__" in cls.__dict__:
            known[f"_default_{one.name}"] = one.default
            value = f"_default_{one.name}"
        else:
            continue
        body.append(f" _set(self, {one.name!r}, {value})" if frozen else f" self.{one.name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append(" self.__post_init__()")
    exec(f"def __init__({', '.join(asked)}):\n" + "\n".join(body or [" pass"]), known)  # noqa: S102 - names and places
    made = known["__init__"]
    made.__qualname__, made.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    return made


def _with_slots(cls: Any, own: dict[str, _Field], frozen: bool) -> Any:
    """The class again, with its fields in slots."""
    if "__slots__" in cls.__dict__:
        raise TypeError(f"{cls.__name__} already specifies __slots__")
    held = dict(cls.__dict__)
    there = {name for base in cls.__mro__[1:-1] for name in base.__dict__.get("__slots__", ())}
    held["__slots__"] = tuple(name for name in own if name not in there)
    for name in own:
        held.pop(name, None)
    held.pop("__dict__", None)
    held.pop("__weakref__", None)
    if frozen:
        # Without a `__dict__`, and with an assignment that refuses, pickle and copy need to be told how.
        held.setdefault("__getstate__", _state_of)
        held.setdefault("__setstate__", _set_state)
    made = type(cls)(cls.__name__, cls.__bases__, held)
    made.__qualname__ = cls.__qualname__
    return made


def _state_of(self: Any) -> list[object]:
    return [getattr(self, name) for name in getattr(type(self), _OURS)]


def _set_state(self: Any, state: list[object]) -> None:
    for name, value in zip(getattr(type(self), _OURS), state, strict=True):
        object.__setattr__(self, name, value)
