"""Lock → derivation on a registry base: what lies between the base's layers and the user's, and the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from flyte_build.deriving.derivation import MAX_LAYERS, FileEntry, ImageDerivation, derive
from flyte_build.deriving.image_config import working_directories
from flyte_build.kernel.errors import LockError
from flyte_build.locks.base import BaseFacts, Distribution, LockedBase, LockedBlob, LockedLayer
from flyte_build.locks.nouns import Lock, LockedPlatform, LockedWheel
from flyte_build.recipe import AptInstall, CopyFiles, EnvVars, PipInstall, Recipe, RegistryBase, Step, WorkDir
from tests.support.recipes import AMD64, deb, sha, wheel

DOCKER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI = "application/vnd.oci.image.layer.v1.tar+gzip"
SITE = "opt/venv/lib/python3.12/site-packages"
FACTS = BaseFacts(
    python="/usr/local/bin/python3.12",
    python_full="3.12.4",
    glibc="2.36",
    uid=0,
    gid=0,
    accounts=("root:x:0:0:root:/root:/bin/bash\n", "root:x:0:"),
    folders=("/app", "/home", "/opt"),
)


def locked_base(facts: BaseFacts | None = FACTS, layers: int = 2, **more: Any) -> LockedBase:
    manifest = f"sha256:{sha('manifest')}"
    made = LockedBase(
        reference=f"registry.example/team/base:1@{manifest}",
        index=None,
        manifest=LockedBlob("application/vnd.docker.distribution.manifest.v2+json", manifest, 500),
        config=LockedBlob("application/vnd.docker.container.image.v1+json", f"sha256:{sha('config')}", 400),
        layers=tuple(
            LockedLayer(DOCKER if i else OCI, f"sha256:{sha(f'blob {i}')}", 10 + i, f"sha256:{sha(f'tar {i}')}")
            for i in range(layers)
        ),
        settings={"Env": ["PATH=/usr/local/bin:/bin", "GPG_KEY=a=b"], "Cmd": ["python3"], "Entrypoint": ["/init"]},
        history=(*({"created_by": f"ADD {i}"} for i in range(layers)), {"created_by": "ENV", "empty_layer": True}),
        facts=facts,
    )
    return replace(made, **more)


def recipe(*steps: Step | str, official: bool = False, python: str | None = None, flyte: str | None = None) -> Recipe:
    made = tuple(PipInstall((s,)) if isinstance(s, str) else s for s in steps)
    base = RegistryBase("registry.example/team/base:1", official)
    return Recipe(base, (AMD64,), python, flyte, made)


def made(
    recipe: Recipe,
    base: LockedBase,
    wheels: Sequence[LockedWheel] = (),
    files: dict[int, list[FileEntry]] | None = None,
    **more: Any,
) -> ImageDerivation:
    platform = LockedPlatform("", "", more.pop("debs", ()), tuple(wheels), base)
    lock = Lock("env", recipe.to_json(), "uv", "1", None, {AMD64: platform})
    return derive(lock, recipe, AMD64, files)


def config(image: ImageDerivation) -> dict[str, Any]:
    return cast("dict[str, Any]", image.spec["config"])


def rows(image: ImageDerivation) -> dict[str, Any]:
    (layer,) = [x for x in image.layers if x.kind == "overlay"]
    return {row["path"]: row for row in cast("list[dict[str, Any]]", layer.spec["entries"])}


def env(image: ImageDerivation) -> dict[str, str]:
    return dict(row.split("=", 1) for row in config(image)["Env"])


def test_an_unmodified_base_is_the_image() -> None:
    base = locked_base(None)
    image = made(recipe(), base)
    assert [x.kind for x in image.layers] == ["base", "base"]
    assert image.artifacts == {}
    assert image.spec["verbatim"] == {
        "reference": base.reference,
        "manifest": {"mediaType": base.manifest.media_type, "digest": base.manifest.digest, "size": 500},
        "config": {"mediaType": base.config.media_type, "digest": base.config.digest, "size": 400},
    }


def test_what_is_put_on_a_base_needs_to_know_what_is_in_it() -> None:
    with pytest.raises(LockError, match="does not say what is in"):
        made(recipe(EnvVars((("A", "b"),))), locked_base(None))


def test_the_bases_layers_come_first_in_the_ocis_words() -> None:
    image = made(recipe("a"), locked_base(), [wheel("a")])
    assert [x.kind for x in image.layers] == ["base", "base", "overlay", "wheels"]
    assert [x.spec["media_type"] for x in image.layers[:2]] == [OCI, OCI]
    assert image.layers[0].title == "registry.example/team/base:1 (1 of 2)"
    assert image.spec["annotations"] == {
        "org.opencontainers.image.base.name": "registry.example/team/base:1",
        "org.opencontainers.image.base.digest": f"sha256:{sha('manifest')}",
    }
    assert [h["created_by"] for h in cast("list[dict[str, str]]", image.spec["history"])] == ["ADD 0", "ADD 1", "ENV"]


def test_one_layer_of_a_base_is_one_derivation_whatever_it_is_called() -> None:
    one = made(recipe("a"), locked_base(), [wheel("a")]).layers[0]
    renamed = locked_base(reference=f"mirror.example/base:2@sha256:{sha('manifest')}")
    assert one.hash == made(recipe(), renamed).layers[0].hash
    other = LockedLayer(OCI, f"sha256:{sha('blob 0')}", 10, f"sha256:{sha('elsewhere')}")
    assert one.hash != made(recipe(), replace(locked_base(), layers=(other,))).layers[0].hash


def test_a_history_that_does_not_tell_of_each_layer_is_replaced() -> None:
    image = made(recipe("a"), locked_base(history=({"created_by": "all at once"},)), [wheel("a")])
    said = [h["created_by"] for h in cast("list[dict[str, str]]", image.spec["history"])]
    assert said == ["registry.example/team/base:1 (1 of 2)", "registry.example/team/base:1 (2 of 2)"]


def test_a_base_without_an_environment_gets_one_of_its_python_that_sees_what_it_has() -> None:
    image = made(recipe("a"), locked_base(), [wheel("a")])
    found = rows(image)
    assert found["opt/venv/bin/python"]["link"] == "/usr/local/bin/python3.12"
    assert found["opt/venv/bin/python3.12"]["link"] == "python"
    assert found[SITE]["dir"]
    assert found["opt/venv/pyvenv.cfg"]["text"] == (
        "home = /usr/local/bin\ninclude-system-site-packages = true\nversion = 3.12.4\n"
        "executable = /usr/local/bin/python3.12\n"
    )
    assert env(image) == {"PATH": "/opt/venv/bin:/usr/local/bin:/bin", "GPG_KEY": "a=b", "VIRTUAL_ENV": "/opt/venv"}
    (layer,) = [x for x in image.layers if x.kind == "wheels"]
    assert (layer.spec["python"], layer.spec["venv"], "folders" in layer.spec) == ("3.12", "/opt/venv", False)


def test_a_wheel_is_the_same_layer_on_debian_and_on_a_base() -> None:
    from flyte_build.recipe import DebianBase
    from tests.support.recipes import lock_of

    debian = Recipe(DebianBase("bookworm"), (AMD64,), "3.12", None, (PipInstall(("a",)),))
    one = derive(lock_of(debian, [wheel("a")]), debian, AMD64).layers[-1]
    other = made(recipe("a"), locked_base(), [wheel("a")]).layers[-1]
    assert one.hash == other.hash


def test_the_environment_of_a_base_is_used_and_what_it_has_makes_room() -> None:
    held = (
        Distribution("a", "0.9", (f"{SITE}/a", f"{SITE}/a-0.9.dist-info")),
        Distribution("b", "1.0", (f"{SITE}/b", f"{SITE}/b-1.0.dist-info")),
    )
    facts = replace(FACTS, venv="/srv/env", distributions=held, plain=False)
    base = locked_base(facts, settings={"Env": ["PATH=/srv/env/bin:/bin", "VIRTUAL_ENV=/srv/env"]})
    image = made(recipe("a"), base, [wheel("a")])
    assert rows(image) == {path: {"path": path, "removed": True} for path in (f"{SITE}/a", f"{SITE}/a-0.9.dist-info")}
    (layer,) = [x for x in image.layers if x.kind == "wheels"]
    assert (layer.spec["venv"], layer.spec["folders"]) == ("/srv/env", False)
    assert env(image) == {"PATH": "/srv/env/bin:/bin", "VIRTUAL_ENV": "/srv/env"}


def test_the_configuration_goes_on_where_the_bases_ends() -> None:
    settings = {
        **locked_base().settings,
        "User": "app:video",
        "WorkingDir": "/app",
        "Labels": {"a": "b"},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGINT",
        "OnBuild": ["RUN x"],
        "Hostname": "builder",
    }
    steps = (EnvVars((("PATH", "/x:$PATH"), ("NEW", "${GPG_KEY}"))), WorkDir("sub"))
    image = made(recipe(*steps), locked_base(settings=settings))
    found = config(image)
    assert [x.kind for x in image.layers] == ["base", "base", "files"], "the working directory, and no environment"
    assert found == {
        "User": "app:video",
        "Env": ["PATH=/x:/usr/local/bin:/bin", "GPG_KEY=a=b", "NEW=a=b"],
        "Cmd": ["python3"],
        "Entrypoint": ["/init"],
        "Volumes": {"/data": {}},
        "WorkingDir": "/app/sub",
        "Labels": {"a": "b"},
        "StopSignal": "SIGINT",
    }


def test_the_official_image_becomes_what_the_sdks_default_image_is() -> None:
    image = made(
        recipe(official=True, python="3.12", flyte="2.12.1"), locked_base(), [wheel("flyte", "2.12.1", step=0)]
    )
    found = rows(image)
    assert found["etc/passwd"]["text"] == f"{FACTS.accounts[0]}flyte:x:1000:1000::/home/flyte:/bin/bash\n"  # type: ignore[index]
    assert found["etc/group"]["text"] == "root:x:0:\nflyte:x:1000:\n"
    for path, mode in (("home/flyte", 0o755), ("root", 0o700)):
        assert (found[path]["mode"], found[path]["uid"], found[path]["gid"]) == (mode, 1000, 1000)
    assert "include-system-site-packages = false" in found["opt/venv/pyvenv.cfg"]["text"]
    assert (config(image)["User"], config(image)["WorkingDir"]) == ("flyte", "/home/flyte")
    assert env(image)["PYTHONPATH"] == "/root"
    assert image.layers[-1].title == "flyte runtime 2.12.1"


def test_a_user_flyte_that_is_there_stays_who_it_is() -> None:
    facts = replace(FACTS, flyte=(1234, 99), accounts=None)
    found = rows(made(recipe("a", official=True, python="3.12"), locked_base(facts), [wheel("a")]))
    assert "etc/passwd" not in found
    assert (found["home/flyte"]["uid"], found["home/flyte"]["gid"]) == (1234, 99)


def test_copied_files_belong_to_the_bases_user_and_folders_of_the_base_stay() -> None:
    facts = replace(FACTS, uid=500, gid=501)
    step = CopyFiles("x", "/app/x", False)
    entry = FileEntry("app/x", 0o644, sha("x"), 1)
    image = made(recipe(step, WorkDir("/work")), locked_base(facts), files={0: [entry]})
    layers = {x.title: x for x in image.layers if x.kind == "files"}
    (row,) = cast("list[dict[str, Any]]", layers["copy x"].spec["files"])
    assert (row["uid"], row["gid"]) == (500, 501)
    (made_folder,) = cast("list[dict[str, Any]]", layers["workdir /work"].spec["files"])
    assert (made_folder["path"], made_folder["uid"]) == ("work", 500)


def test_working_directories_start_where_the_base_has_them() -> None:
    one = recipe(WorkDir("a"))
    assert working_directories(one, locked_base(settings={"WorkingDir": "/app/"})) == ["/app", "/app/a"]
    assert working_directories(one, locked_base(settings={})) == ["/", "/a"]
    official = recipe(WorkDir("a"), official=True)
    assert working_directories(official, locked_base()) == ["/home/flyte", "/home/flyte/a"]


def test_debian_packages_lie_right_on_the_base() -> None:
    image = made(recipe(AptInstall(("git",)), "a"), locked_base(), [wheel("a")], debs=(deb("git", base=False),))
    assert [x.kind for x in image.layers] == ["base", "base", "packages", "overlay", "wheels"]
    assert image.layers[2].title == "apt git"


def test_the_limit_of_layers_counts_the_bases() -> None:
    large = [wheel(f"w{i}", size=10 << 20) for i in range(90)]
    image = made(recipe("a"), locked_base(layers=60), large)
    assert len(image.layers) <= MAX_LAYERS
    assert len(made(recipe("a"), locked_base(layers=2), large).layers) == 2 + 1 + 90
