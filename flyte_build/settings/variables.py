"""The environment variables that are no settings: where things lie on this machine, how it reaches others, secrets.

A project cannot state them for everybody, so they have no key. Only documents: each is read where it is used, and a
test holds the rows against the code. Names that other programs gave are listed where flyte-build acts on them.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["VARIABLES", "Variable"]


@dataclass(frozen=True, slots=True)
class Variable:
    """``names`` belong together. ``otherwise`` is what holds where they are not set, ``see`` a page of ``docs/``."""

    names: tuple[str, ...]
    says: str
    otherwise: str
    see: str | None = None


VARIABLES = (
    Variable(
        ("FLYTE_BUILD_CACHE",),
        "The store: images and artifacts. It can be deleted at any time, and costs only time.",
        "the user's cache folder",
        "architecture.md",
    ),
    Variable(
        ("FLYTE_BUILD_STATE",), "Runs, with their logs and results.", "the user's state folder", "architecture.md"
    ),
    Variable(
        ("FLYTE_BUILD_LOCKED",),
        "`1`: Flyte's own commands write no lock, and what is built must be what the locks pin.",
        "locks are written",
        "flyte.md",
    ),
    Variable(
        ("FLYTE_BUILD_CORE",),
        "`pure`: layers are made by Python alone; `native`: that the native core is missing is an error.",
        "`auto`: the native core where it is there",
        "core.md",
    ),
    Variable(("FLYTE_BUILD_PIN",), "`off`: Flyte's own commands pin nothing.", "they pin", "flyte.md"),
    Variable(
        ("FLYTE_BUILD_DELEGATE",),
        "Which of the SDK's builders gets what flyte-build's own leaves to it: `local`, `local-podman` or `remote`.",
        "`local`",
        "flyte.md",
    ),
    Variable(
        ("FLYTE_BUILD_DEBIAN_MIRROR", "FLYTE_BUILD_DEBIAN_SECURITY_MIRROR"),
        "Where Debian's packages are: one address or several, separated by spaces.",
        "the host's apt sources",
        "bazel.md",
    ),
    Variable(
        ("FLYTE_BUILD_DEBIAN_SNAPSHOT",),
        "An archive of the shape of Debian's snapshots, for packages that mirrors dropped; `off`: none.",
        "Debian's own",
        "bazel.md",
    ),
    Variable(
        ("FLYTE_BUILD_DEBIAN_KEYRING",),
        "The keys that Debian's Release files are signed with.",
        "those of `debian-archive-keyring`",
    ),
    Variable(
        ("FLYTE_BUILD_OSV",),
        "Where `outdated` has advisories from: a service that speaks OSV's API, or a folder of advisories.",
        "nobody is asked",
        "questions.md",
    ),
    Variable(
        ("FLYTE_BUILD_REGISTRY_MIRROR",),
        "Where base images come from instead: pairs `host=place`, separated by spaces.",
        "the registry in the image's name",
        "bases.md",
    ),
    Variable(
        ("FLYTE_BUILD_REGISTRY_USER", "FLYTE_BUILD_REGISTRY_PASSWORD"),
        "Credentials for the registry that is pushed to; with `_<HOST>` at the end for any other.",
        "the logins of Docker and podman",
        "registries.md",
    ),
    Variable(
        ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG"),
        "Where Docker and podman keep their logins, as these programs have it.",
        "their own folders",
        "registries.md",
    ),
    Variable(
        ("COSIGN_PASSWORD",),
        "The password of the private key that `sign-key` names.",
        "the key has none",
        "supply-chain.md",
    ),
    Variable(
        ("SSL_CERT_FILE", "SSL_CERT_DIR"),
        "Authorities that certificates are held against.",
        "the system's",
        "registries.md",
    ),
    Variable(
        ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"),
        "The way to other hosts. Loopback is never asked through a proxy.",
        "the direct way",
        "registries.md",
    ),
    Variable(
        ("DOCKER_HOST", "DOCKER_CONTEXT"),
        "The daemon of `load`, as `docker` has it.",
        "the context in use",
        "delivery.md",
    ),
    Variable(("NIX_STORE_DIR",), "Nix's store, as `nix` has it.", "`/nix/store`", "nix.md"),
    Variable(
        ("FLYTE_BUILD_PIP_PYTHON",),
        "Under Bazel, the Python whose pip fetches wheels.",
        "`python3`",
        "bazel.md",
    ),
    Variable(("LOG_LEVEL", "USER_LOG_LEVEL", "LOG_FORMAT"), "What flyte's runtime logs in a run.", "`LOG_LEVEL=ERROR`"),
    Variable(
        ("GITHUB_ACTIONS",),
        "Set, as GitHub's runner does: nothing but our own annotations is printed as a command that the runner obeys.",
        "lines are printed as they are",
        "security.md",
    ),
    Variable(
        ("NO_COLOR", "FORCE_COLOR"),
        "Set: no colours, or colours wherever the output goes.",
        "colours on a terminal",
    ),
)
