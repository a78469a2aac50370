"""The module extension: lock files → repositories, of which only what is built is ever fetched.

    flyte = use_extension("@flyte_build//rules/bazel:extensions.bzl", "flyte")
    flyte.locks(name = "images", folder = "//lockfiles:BUILD.bazel")
    use_repo(flyte, "images")

`@images//:defs.bzl` then has `flyte_image`, which knows these locks. A layer that several images hold is one target.
"""

load(":artifact.bzl", "declare_artifact")
load(":interpreter.bzl", "locked_interpreter")
load(":grouping.bzl", "copies", "environment", "image_layers", "interpreter", "whole")

_TITLE = 40

def _flyte(ctx):
    layout = json.decode(ctx.read(Label("//rules:layout.json")))
    declared = {}  # SHA-256 of artifacts, and what interpreters are made of → repository
    for module in ctx.modules:
        for tag in module.tags.locks:
            _locks(ctx, tag, layout, declared)
    builder = whole(json.decode(ctx.read(Label("//flyte_build/toolchain:builder.json"))))
    _interpreters(builder, declared)
    return ctx.extension_metadata(reproducible = True)

def _labels(ctx, tag):
    """The locks that a tag means: those named, and all of its folder."""
    labels = list(tag.locks)
    if tag.folder:
        for entry in sorted(ctx.path(tag.folder).dirname.readdir(), key = str):
            if entry.basename.endswith(".json"):
                labels.append(tag.folder.relative(":" + entry.basename))
    return labels

def _locks(ctx, tag, layout, declared):
    layers = {}  # spec, as JSON → target, SHA-256 of its artifacts, what it is the bytecode of, and by whom
    images = {}  # environment → platform → targets
    labels = {}  # environment → its lock
    steps = {}  # environment → the copies of its recipe
    for label in _labels(ctx, tag):
        stated = json.decode(ctx.read(label))
        if stated["schema"] not in (1, layout["lock_schema"]):
            fail("%s: lock schema %d, but these rules know %d" % (label, stated["schema"], layout["lock_schema"]))
        lock = whole(stated)
        name = lock["environment"]
        if name in images:
            fail("%s: two locks are of the environment %s" % (tag.name, name))
        images[name] = {}
        labels[name] = str(label)
        steps[name] = copies(lock)
        for platform in lock["platforms"]:
            locked = lock["platforms"][platform]
            if locked.get("base"):
                # Its layers lie in a registry. `flyte_image` says so, where such an image is asked for.
                continue
            targets = []
            python = (environment(lock["recipe"]) or lock["recipe"])["python"]
            for layer in image_layers(lock, platform, layout):
                key = json.encode(layer.spec)
                if key not in layers:
                    for row in layer.artifacts:
                        _declare(row, locked, python, declared)
                    of, by = None, {}
                    if layer.of:
                        of, by = layers[json.encode(layer.of.spec)][0], _compilers(lock, layer.spec["by"], declared)
                    layers[key] = _name(len(layers), layer), [row["sha256"] for row in layer.artifacts], of, by
                targets.append(layers[key][0])
            images[name][platform] = targets
    _hub(
        name = tag.name,
        images = json.encode(images),
        layers = json.encode(layers),
        locks = labels,
        copies = json.encode(steps),
    )

def _declare(row, locked, python, declared):
    if row["sha256"] not in declared:
        declared[row["sha256"]] = True
        declare_artifact(repository(row["sha256"]), row, locked, python)

def repository(sha256):
    """The name of the repository that holds an artifact."""
    return "flyte_artifact_" + sha256

def _name(number, layer):
    kind = layer.spec["kind"]
    words = [kind] if kind != "wheels" else [a["name"] for a in layer.artifacts]
    if layer.of:
        words.append(layer.of.spec["kind"])
    plain = "".join([c if c.isalnum() else "_" for c in "_".join(words).elems()])
    return "layer_%d_%s" % (number, plain[:_TITLE])

# -- the interpreter that assembles ------------------------------------------------------------------

def _interpreters(builder, declared):
    for platform, locked in builder["platforms"].items():
        debs = [row for row in locked["debs"] if row["base"]]
        for row in debs:
            _declare(row, locked, builder["recipe"]["python"], declared)
        locked_interpreter(
            name = "flyte_python_" + platform.replace("/", "_"),
            platform = platform,
            python = builder["recipe"]["python"],
            suite = locked["suite"],
            debs = ["@%s//:%s" % (repository(row["sha256"]), row["file"]) for row in debs],
        )

def _compilers(lock, by, declared):
    """Processor → the interpreter that compiles on it, of those of the lock that are the version `by`."""
    found = {}
    for platform, locked in lock["platforms"].items():
        if interpreter(locked, lock["recipe"]) == by:
            found[_CPUS[platform]] = "@%s//:python" % _interpreter_of(platform, locked, lock["recipe"]["python"], declared)
    return found

def _interpreter_of(platform, locked, python, declared):
    """The repository of an image's own interpreter."""
    debs = [row for row in locked["debs"] if row["base"]]
    archive = locked.get("python")
    key = json.encode([platform, python, [row["sha256"] for row in debs], archive])
    if key not in declared:
        for row in debs + ([archive] if archive else []):
            _declare(row, locked, python, declared)
        number = len([known for known in declared if known.startswith("[")])
        declared[key] = "flyte_compiler_%d" % number
        locked_interpreter(
            name = declared[key],
            platform = platform,
            python = python,
            suite = locked["suite"],
            debs = ["@%s//:%s" % (repository(row["sha256"]), row["file"]) for row in debs],
            archive = "@%s//:%s" % (repository(archive["sha256"]), archive["file"]) if archive else None,
        )
    return declared[key]

_CPUS = {
    "linux/amd64": "@platforms//cpu:x86_64",
    "linux/arm64": "@platforms//cpu:aarch64",
}

# -- the images ------------------------------------------------------------------------------------

_DEFS = '''"""The images of these locks. Generated; see @flyte_build//rules/bazel:image.bzl."""
load("@flyte_build//rules/bazel:image.bzl", _image = "flyte_image")

_IMAGES = json.decode({images})
_LOCKS = {locks}
_COPIES = json.decode({copies})

ENVIRONMENTS = sorted([name for name, platforms in _IMAGES.items() if platforms])

def flyte_image(name, environment = None, srcs = [], root = None, **kwargs):
    """The image of `environment` (default: `name`), on the target platform; `name.linux_arm64` and so on are for one.

    Args:
      name: the target. `name.push` and `name.load` run.
      environment: the environment's name in the locks.
      srcs: local files that the recipe copies.
      root: folder of `srcs` that paths in the recipe start from (default: this package's).
      **kwargs: visibility, tags, testonly.
    """
    wanted = environment or name
    if wanted not in _IMAGES:
        fail("no lock of an environment `%s`; there are: %s" % (wanted, ", ".join(sorted(_IMAGES))))
    if not _IMAGES[wanted]:
        fail("the image of `%s` stands on a registry's; these rules build on Debian: use `flyte-build build`" % wanted)
    _image(
        name = name,
        environment = wanted,
        lock = str(Label(_LOCKS[wanted])),
        layers = {{p: [str(Label("//:" + t)) for t in targets] for p, targets in _IMAGES[wanted].items()}},
        copies = _COPIES[wanted],
        srcs = srcs,
        root = root,
        **kwargs
    )
'''

def _lock(environment):
    return "locks/%s.json" % environment

def _hub_impl(ctx):
    # The rules' own view of the locks: whoever keeps them need not export them.
    for environment, label in ctx.attr.locks.items():
        ctx.symlink(ctx.path(Label(label)), _lock(environment))
    build = ['load("@flyte_build//rules/bazel:layer.bzl", "flyte_layer")', 'package(default_visibility = ["//visibility:public"])']
    compilers = {}
    for spec, (target, artifacts, of, by) in json.decode(ctx.attr.layers).items():
        more = ""
        if of:
            key = json.encode(by)
            if key not in compilers:
                compilers[key] = "compiler_%d" % len(compilers)
                build.append("alias(name = %r, actual = select(%r, no_match_error = %r))" % (
                    compilers[key],
                    by,
                    "the lock has no Python of the image's version for this machine: lock for its platform, too",
                ))
            more = ", of = %r, interpreter = %r" % (of, compilers[key])
        build.append("flyte_layer(name = %r, spec = %r, artifacts = %r%s)" % (
            target,
            spec,
            {"@%s//:artifact" % repository(sha256): sha256 for sha256 in artifacts},
            more,
        ))
    locks = {environment: "//:" + _lock(environment) for environment in ctx.attr.locks}
    build.append("exports_files(%r)" % [_lock(environment) for environment in ctx.attr.locks])
    ctx.file("BUILD.bazel", "\n".join(build) + "\n", executable = False)
    ctx.file(
        "defs.bzl",
        _DEFS.format(images = repr(ctx.attr.images), locks = repr(locks), copies = repr(ctx.attr.copies)),
        executable = False,
    )

_hub = repository_rule(
    implementation = _hub_impl,
    attrs = {
        "images": attr.string(),
        "layers": attr.string(),
        "locks": attr.string_dict(),
        "copies": attr.string(),
    },
)

flyte = module_extension(
    implementation = _flyte,
    doc = "Repositories of the artifacts that locks name, and of the images made of them.",
    tag_classes = {
        "locks": tag_class(
            doc = "Locks whose images refer to each other's layers.",
            attrs = {
                "name": attr.string(mandatory = True, doc = "The repository whose `defs.bzl` has `flyte_image`."),
                "locks": attr.label_list(allow_files = [".json"], doc = "Lock files."),
                "folder": attr.label(doc = "A file (its BUILD.bazel, say) in a folder whose *.json are all locks."),
            },
        ),
    },
)
