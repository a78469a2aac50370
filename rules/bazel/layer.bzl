"""One layer: an action of its own, so that it is cached, shared and executed remotely as such."""

load(":python.bzl", "FlytePythonInfo")

FlyteLayerInfo = provider(
    doc = "A finished layer.",
    fields = {"directory": "folder with `blob`, `result.json`, `listing.json` and `spec.json`"},
)

TOOL_ATTRIBUTES = {
    "_python": attr.label(default = "//rules/bazel:python", providers = [FlytePythonInfo], cfg = "exec"),
    "_sources": attr.label(default = "//flyte_build:actions"),
}

def run(ctx, folder, arguments, inputs, outputs, mnemonic, message):
    """An action that runs `flyte_build/<folder>`: no network, no environment, the locked interpreter.

    Args:
      ctx: the rule's context, with `TOOL_ATTRIBUTES`.
      folder: `assemble` or `stepwise`.
      arguments: an `Args` of the command's arguments.
      inputs: depset of what it reads.
      outputs: what it makes.
      mnemonic: the action's kind.
      message: what Bazel shows meanwhile.
    """
    python = ctx.attr._python[FlytePythonInfo]
    sources = ctx.attr._sources[DefaultInfo].files
    main = [f for f in sources.to_list() if f.path.endswith("flyte_build/%s/__main__.py" % folder)]
    prefix = ctx.actions.args()
    prefix.add_all(python.arguments)
    prefix.add_all(["-I", "-S", "-B", "-X", "utf8", main[0].dirname])
    ctx.actions.run(
        executable = python.executable,
        arguments = [prefix, arguments],
        inputs = depset(transitive = [inputs, sources, python.files]),
        outputs = outputs,
        mnemonic = mnemonic,
        progress_message = message,
        execution_requirements = {"block-network": "1"},
        env = {},
    )

def _layer_impl(ctx):
    spec = ctx.actions.declare_file(ctx.label.name + ".spec.json")
    ctx.actions.write(spec, ctx.attr.spec)
    out = ctx.actions.declare_directory(ctx.label.name)
    arguments = ctx.actions.args()
    arguments.add("layer")
    arguments.add(spec)
    arguments.add(out.path)
    for target, sha256 in ctx.attr.artifacts.items():
        (file,) = target[DefaultInfo].files.to_list()
        arguments.add("--artifact")
        arguments.add(file, format = sha256 + "=%s")
    run(
        ctx,
        "assemble",
        arguments,
        depset([spec], transitive = [t[DefaultInfo].files for t in ctx.attr.artifacts]),
        [out],
        "FlyteLayer",
        "Assembling %{label}",
    )
    return [DefaultInfo(files = depset([out])), FlyteLayerInfo(directory = out)]

flyte_layer = rule(
    implementation = _layer_impl,
    doc = "A layer of artifacts.",
    provides = [FlyteLayerInfo],
    attrs = {
        "spec": attr.string(mandatory = True, doc = "The layer as the assembler takes it, JSON."),
        "artifacts": attr.label_keyed_string_dict(allow_files = True, doc = "Files, and the SHA-256 of each."),
    } | TOOL_ATTRIBUTES,
)
