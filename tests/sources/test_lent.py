"""What secrets of a layer mean for its indexes, and that what is secret is struck out."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.kernel.errors import InputError
from flyte_build.kernel.struck import strike, struck
from flyte_build.recipe import PipInstall, SecretMount, SourceTree
from flyte_build.sources.indexes import Index, IndexSettings, redact
from flyte_build.sources.indexes.index_cache import place, remember_place
from flyte_build.sources.lent import filled, filled_tree, settings_of

BASE = IndexSettings(Index("https://public.example/simple"), extra=(Index("https://team.example/simple", "my-team"),))


def step(*secrets: SecretMount, **more: object) -> PipInstall:
    return PipInstall(("x",), secrets=secrets, **more)  # type: ignore[arg-type]


def test_only_what_was_lent_is_filled_in() -> None:
    given = {"TOKEN": "a b"}
    assert (
        filled("https://$TOKEN@x/${TOKEN}/$OTHER/${HOME}/$TOKENS", given) == "https://a b@x/a b/$OTHER/${HOME}/$TOKENS"
    )
    assert filled("https://$TOKEN@x", {}) == "https://$TOKEN@x"


def test_indexes_of_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPANY_PAT", "t0ken-of-a-layer\n")
    monkeypatch.setenv("UV_INDEX_MY_TEAM_USERNAME", "ci")
    secrets = SecretMount("pat", "company", env="UV_INDEX_MY_TEAM_PASSWORD"), SecretMount("company_pat", env="TOKEN")
    asked = step(
        *secrets, index="https://files.example/$TOKEN/simple", extra_indexes=("https://ci:${TOKEN}@e.example/s",)
    )
    found = settings_of(BASE, [asked], None, keep_default=False)
    assert [i.url for i in found.indexes] == [
        "https://ci:t0ken-of-a-layer@e.example/s",
        "https://ci:t0ken-of-a-layer@team.example/simple",
        "https://files.example/t0ken-of-a-layer/simple",
    ]
    # Nothing of it is in the recipe's canonical form, not even that there is a secret.
    assert asked.to_json() == step(index=asked.index, extra_indexes=asked.extra_indexes).to_json()
    assert settings_of(BASE, [step()], None, keep_default=True) == BASE


def test_indexes_that_are_secrets_themselves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WHERE", "https://ci:t0ken-of-an-index@inner.example/simple")
    found = settings_of(BASE, [step(SecretMount("WHERE", env="UV_DEFAULT_INDEX"))], tmp_path, keep_default=True)
    assert [i.url for i in found.indexes] == ["https://ci:t0ken-of-an-index@inner.example/simple"]


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAT", "t0ken-of-an-address")
    lent = step(SecretMount("PAT", env="PAT"))
    tree = SourceTree("tool", git="https://$PAT@git.example/tool")
    assert filled_tree(tree, lent).git == "https://t0ken-of-an-address@git.example/tool"
    assert filled_tree(tree, step()) is tree
    assert filled_tree(tree, lent).to_json() == tree.to_json()


def test_a_secret_that_nobody_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMPANY_PAT", raising=False)
    with pytest.raises(
        InputError, match=r"the secret company_PAT of the packages of an image: expected it in \$COMPANY_PAT"
    ):
        settings_of(BASE, [step(SecretMount("PAT", "company", env="TOKEN"))], None, keep_default=True)


def test_what_is_secret_is_struck_out_and_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path))
    strike("t0ken/in-a-path", "abc")
    url = "https://files.example/t0ken%2Fin-a-path/x-1.0-py3-none-any.whl"
    assert struck("abc: t0ken/in-a-path") == "abc: ***"
    assert redact(f"GET {url}") == "GET https://files.example/***/x-1.0-py3-none-any.whl"
    remember_place(BASE, "0" * 64, url)
    assert place(BASE, "0" * 64) is None
    remember_place(BASE, "0" * 64, "https://files.example/x")
    assert place(BASE, "0" * 64) == "https://files.example/x"
