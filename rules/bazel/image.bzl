"""An image: the lock and its finished layers, as an OCI image layout. `flyte_image` comes from a locks repository."""

load(":layer.bzl", "FlyteLayerInfo", "TOOL_ATTRIBUTES", "run")

FlyteImageInfo = provider(
    doc = "An image.",
    fields = {"layout": "folder: an OCI image layout", "platform": "such as linux/amd64", "environment": "its name"},
)

def _copy_impl(ctx):
    out = ctx.actions.declare_directory(ctx.label.name)
    arguments = ctx.actions.args()
    arguments.add("files")
    arguments.add(ctx.file.lock)
    arguments.add(ctx.attr.platform)
    arguments.add(str(ctx.attr.step))
    arguments.add(out.path)
    arguments.add("--root", ctx.attr.root)

    # What Bazel gives an action for a symbolic link is the file that it leads to.
    arguments.add("--follows-links")
    run(ctx, "stepwise", arguments, depset(ctx.files.srcs + [ctx.file.lock]), [out], "FlyteFiles", "Copying for %{label}")
    return [DefaultInfo(files = depset([out])), FlyteLayerInfo(directory = out)]

_copy = rule(
    implementation = _copy_impl,
    provides = [FlyteLayerInfo],
    attrs = {
        "lock": attr.label(allow_single_file = [".json"], mandatory = True),
        "platform": attr.string(mandatory = True),
        "step": attr.int(mandatory = True),
        "srcs": attr.label_list(allow_files = True),
        "root": attr.string(mandatory = True),
    } | TOOL_ATTRIBUTES,
)

def _image_impl(ctx):
    out = ctx.actions.declare_directory(ctx.label.name)
    layers = [target[FlyteLayerInfo].directory for target in ctx.attr.layers]
    copied = {target[FlyteLayerInfo].directory: step for target, step in ctx.attr.files.items()}
    arguments = ctx.actions.args()
    arguments.add("image")
    arguments.add(ctx.file.lock)
    arguments.add(ctx.attr.platform)
    arguments.add(out.path)
    arguments.add_all(layers, before_each = "--layer", expand_directories = False)
    for folder, step in copied.items():
        arguments.add("--files", "%s=%s" % (step, folder.path))
    inputs = depset(layers + copied.keys() + [ctx.file.lock])
    run(ctx, "stepwise", arguments, inputs, [out], "FlyteImage", "Composing %{label}")
    return [
        DefaultInfo(files = depset([out]), runfiles = ctx.runfiles([out])),
        OutputGroupInfo(_validation = depset([_checked(ctx, out)])),
        FlyteImageInfo(layout = out, platform = ctx.attr.platform, environment = ctx.attr.environment),
    ]

def _checked(ctx, layout):
    """What says whether the image is the one that the lock pins; it fails where it is not."""
    said = ctx.actions.declare_file(ctx.label.name + ".pin.txt")
    arguments = ctx.actions.args()
    arguments.add_all(["check", ctx.file.lock, ctx.attr.platform])
    arguments.add(layout.path)
    arguments.add("--out", said)
    run(ctx, "stepwise", arguments, depset([layout, ctx.file.lock]), [said], "FlytePin", "Comparing %{label} with its pin")
    return said

_layout = rule(
    implementation = _image_impl,
    provides = [FlyteImageInfo],
    attrs = {
        "lock": attr.label(allow_single_file = [".json"], mandatory = True),
        "environment": attr.string(mandatory = True),
        "platform": attr.string(mandatory = True),
        "layers": attr.label_list(providers = [FlyteLayerInfo]),
        "files": attr.label_keyed_string_dict(providers = [FlyteLayerInfo]),
    } | TOOL_ATTRIBUTES,
)

_CPUS = {
    "linux/amd64": "@platforms//cpu:x86_64",
    "linux/arm64": "@platforms//cpu:aarch64",
}

def flyte_image(name, environment, lock, layers, copies, srcs = [], root = None, visibility = None, **kwargs):
    """An environment's image: one target a platform, and `name` for the platform that is built for.

    Call the `flyte_image` of a locks repository, which knows `lock`, `layers` and `copies`.

    Args:
      name: the target; `name.linux_amd64` and so on are each platform's, `name.push` and `name.load` run.
      environment: the environment's name.
      lock: the lock file's label.
      layers: platform → labels of the layers of artifacts.
      copies: indexes of the recipe's steps that copy local files.
      srcs: the files that these steps copy.
      root: the folder that paths in the recipe start from (default: this package's).
      visibility: of all targets.
      **kwargs: `tags`, `testonly`.
    """
    folder = native.package_name() if root == None else root
    for platform, targets in layers.items():
        one = _for(name, platform)
        files = {}
        for step in copies:
            target = "%s.files_%d" % (one, step)
            files[target] = str(step)
            _copy(
                name = target,
                lock = lock,
                platform = platform,
                step = step,
                srcs = srcs,
                root = folder or ".",
                **kwargs
            )
        _layout(
            name = one,
            environment = environment,
            lock = lock,
            platform = platform,
            layers = targets,
            files = files,
            visibility = visibility,
            **kwargs
        )
    native.alias(
        name = name,
        actual = select(
            {_CPUS[platform]: _for(name, platform) for platform in layers},
            no_match_error = "%s has images for %s" % (environment, ", ".join(layers)),
        ),
        visibility = visibility,
        **kwargs
    )
    _run(name = name + ".push", verb = "push", image = name, visibility = visibility, **kwargs)
    _run(name = name + ".load", verb = "load", image = name, visibility = visibility, **kwargs)

def _for(name, platform):
    return "%s.%s" % (name, platform.replace("/", "_"))

# -- what runs on the user's machine: no action, so it may use the network and the user's credentials ------------

_SCRIPT = """#!/bin/sh
# {verb} the image of `{environment}` ({platform}). Further arguments go to `flyte-build {verb}`.
exec "${{FLYTE_BUILD:-flyte-build}}" {verb} "oci:{layout}" --name {environment} "$@"
"""

def _run_impl(ctx):
    image = ctx.attr.image[FlyteImageInfo]
    script = ctx.actions.declare_file(ctx.label.name + ".sh")
    ctx.actions.write(
        script,
        _SCRIPT.format(
            verb = ctx.attr.verb,
            layout = image.layout.short_path,
            environment = image.environment,
            platform = image.platform,
        ),
        is_executable = True,
    )
    return [DefaultInfo(executable = script, runfiles = ctx.runfiles([image.layout]))]

_run = rule(
    implementation = _run_impl,
    executable = True,
    attrs = {
        "image": attr.label(providers = [FlyteImageInfo], mandatory = True),
        "verb": attr.string(values = ["push", "load"], mandatory = True),
    },
)
