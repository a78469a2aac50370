"""One artifact of a lock as a repository: a wheel or a Debian package, by its SHA-256.

A lock says what, never where from. The places asked, in this order:

1. the store of flyte-build (`$FLYTE_BUILD_CACHE`, else the user's cache folder): what `flyte-build build` or
   `flyte-build bundle` brought needs no download, and a machine without network builds from there;
2. for a wheel, what pip is configured for: `python3 -m pip download --require-hashes`;
   for a Debian package, `$FLYTE_BUILD_DEBIAN_MIRROR` or `$FLYTE_BUILD_DEBIAN_SECURITY_MIRROR`, then the snapshot
   archive at the lock's instant.

Whatever answers, Bazel verifies the SHA-256, and keeps the bytes in its own repository cache.
"""

_SNAPSHOT = "https://snapshot.debian.org/archive"
_MIRRORS = {
    "debian": "FLYTE_BUILD_DEBIAN_MIRROR",
    "debian-security": "FLYTE_BUILD_DEBIAN_SECURITY_MIRROR",
}
_WAY_OUT = "run `flyte-build build FILE --platform all`: it fills the store that is asked first, from the places it knows"
_BUILD = """exports_files(["{file}"], visibility = ["//visibility:public"])
alias(name = "artifact", actual = "{file}", visibility = ["//visibility:public"])
"""

def _store(ctx):
    for variable, below in [("FLYTE_BUILD_CACHE", ""), ("XDG_CACHE_HOME", "/flyte-build"), ("HOME", "/.cache/flyte-build")]:
        folder = ctx.getenv(variable)
        if folder:
            return ctx.path(folder + below + "/artifacts/sha256/" + ctx.attr.sha256)
    return None

def _impl(ctx):
    file = ctx.attr.file
    stored = _store(ctx)
    if stored and stored.exists:
        ctx.download("file://" + str(stored), output = file, sha256 = ctx.attr.sha256)
    elif file.endswith(".deb"):
        _deb(ctx)
    elif not file.endswith(".whl"):
        fail("%s: a sealed layer, a Python of uv's or a conda package, is not in the store, and no index has it\n%s" % (file, _WAY_OUT))
    else:
        _wheel(ctx)
    ctx.file("BUILD.bazel", _BUILD.format(file = file), executable = False)

def _deb(ctx):
    urls = []
    mirror = ctx.getenv(_MIRRORS[ctx.attr.archive])
    if mirror:
        urls.append("%s/%s" % (mirror.rstrip("/"), ctx.attr.pool_path))
    snapshots = ctx.getenv("FLYTE_BUILD_DEBIAN_SNAPSHOT") or _SNAPSHOT
    if snapshots != "off":
        urls.append("%s/%s/%s/%s" % (snapshots.rstrip("/"), ctx.attr.archive, ctx.attr.snapshot, ctx.attr.pool_path))
    if not urls:
        fail("%s: no place to fetch it from: set %s" % (ctx.attr.file, _MIRRORS[ctx.attr.archive]))
    if not ctx.download(urls, output = ctx.attr.file, sha256 = ctx.attr.sha256, allow_fail = True).success:
        fail("%s: not to be had from %s\n%s" % (ctx.attr.file, " or ".join(urls), _WAY_OUT))

def _wheel(ctx):
    python = ctx.getenv("FLYTE_BUILD_PIP_PYTHON") or "python3"
    name, version = ctx.attr.distribution, ctx.attr.version
    ctx.file("requirements.txt", "%s==%s --hash=sha256:%s\n" % (name, version, ctx.attr.sha256), executable = False)
    interpreters, abis, platforms = ctx.attr.file.removesuffix(".whl").split("-")[-3:]
    command = [python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--dest", "downloaded", "--requirement", "requirements.txt"]
    command += ["--python-version", ctx.attr.python]
    for platform in platforms.split("."):
        command += ["--platform", platform]
    for abi in abis.split("."):
        command += ["--abi", abi]
    for interpreter in interpreters.split("."):
        command += ["--implementation", "py" if interpreter.startswith("py") else "cp"]
        break
    done = ctx.execute(command, timeout = 600)
    found = ctx.path("downloaded/" + ctx.attr.file)
    if done.return_code != 0 or not found.exists:
        fail(("%s: pip, as it is configured here, did not bring it (`%s` ended with %d):\n%s\n" +
              "%s") % (
            ctx.attr.file,
            " ".join(command[:4]),
            done.return_code,
            done.stderr,
            _WAY_OUT,
        ))

    # Through Bazel's own downloader: it verifies the hash and keeps the bytes in the repository cache.
    ctx.download("file://" + str(found), output = ctx.attr.file, sha256 = ctx.attr.sha256)
    ctx.delete("downloaded")

flyte_artifact = repository_rule(
    implementation = _impl,
    doc = "One locked artifact; `@<name>//:artifact` is the file.",
    attrs = {
        "file": attr.string(mandatory = True, doc = "The artifact's file name."),
        "sha256": attr.string(mandatory = True, doc = "Its SHA-256, in hex."),
        "distribution": attr.string(doc = "A wheel's normalised project name."),
        "version": attr.string(doc = "A wheel's version."),
        "python": attr.string(doc = "The Python that the lock is for, such as `3.11`."),
        "archive": attr.string(doc = "A Debian package's archive: `debian` or `debian-security`."),
        "snapshot": attr.string(doc = "The instant of the archive, `YYYYMMDDTHHMMSSZ`."),
        "pool_path": attr.string(doc = "The path below the archive's root."),
    },
)

def declare_artifact(name, row, locked, python):
    """Declare the repository `name` for one row of a lock's `debs` or `wheels`.

    Args:
      name: the repository's name.
      row: the artifact, as the lock has it.
      locked: the platform of the lock that holds it.
      python: the lock's Python, such as `3.11`.
    """
    if row["file"].endswith(".whl"):
        flyte_artifact(
            name = name,
            file = row["file"],
            sha256 = row["sha256"],
            distribution = row["name"],
            version = row["version"],
            python = python,
        )
    elif not row["file"].endswith(".deb"):
        # The layer of a sealed step, a Python of uv's or a conda package, which only a store of flyte-build has.
        flyte_artifact(name = name, file = row["file"], sha256 = row["sha256"])
    else:
        source = row["source"]
        prefix = source[:4] if source.startswith("lib") else source[:1]
        flyte_artifact(
            name = name,
            file = row["file"],
            sha256 = row["sha256"],
            archive = row["archive"],
            snapshot = locked["snapshot"],
            pool_path = "pool/%s/%s/%s/%s" % (row["component"], prefix, source, row["file"]),
        )
