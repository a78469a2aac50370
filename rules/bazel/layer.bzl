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

def run(ctx, folder, arguments, inputs, outputs, mnemonic, message, python = None):
    """An action that runs `flyte_build/<folder>`: no network, no environment, the locked interpreter.

    Args:
      ctx: the rule's context, with `TOOL_ATTRIBUTES`.
      folder: `assemble` or `stepwise`, or a script in one of them.
      arguments: an `Args` of the command's arguments.
      inputs: depset of what it reads.
      outputs: what it makes.
      mnemonic: the action's kind.
      message: what Bazel shows meanwhile.
      python: `FlytePythonInfo` of another interpreter, an image's own.
    """
    python = python or ctx.attr._python[FlytePythonInfo]
    sources = ctx.attr._sources[DefaultInfo].files
    script = folder.endswith(".py")
    end = "flyte_build/%s" % (folder if script else folder + "/__main__.py")
    (main,) = [f for f in sources.to_list() if f.path.endswith(end)]
    prefix = ctx.actions.args()
    prefix.add_all(python.arguments)
    prefix.add_all(["-I", "-S", "-B", "-X", "utf8", main.path if script else main.dirname])
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

def _compiled(ctx):
    """What an image's own interpreter makes of the modules of a finished layer."""
    out = ctx.actions.declare_file(ctx.label.name + ".compiled")
    of = ctx.attr.of[FlyteLayerInfo].directory
    arguments = ctx.actions.args()
    arguments.add(of.path + "/blob")
    arguments.add(out)
    arguments.add_all(json.decode(ctx.attr.spec)["folders"])
    python = ctx.attr.interpreter[FlytePythonInfo]
    run(ctx, "assemble/compiling.py", arguments, depset([of]), [out], "FlyteBytecode", "Compiling %{label}", python)
    return out

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
    compiled = []
    if ctx.attr.of:
        compiled.append(_compiled(ctx))
        arguments.add("--compiled", compiled[0])
    run(
        ctx,
        "assemble",
        arguments,
        depset([spec] + compiled, transitive = [t[DefaultInfo].files for t in ctx.attr.artifacts]),
        [out],
        "FlyteLayer",
        "Assembling %{label}",
    )
    return [DefaultInfo(files = depset([out])), FlyteLayerInfo(directory = out)]

flyte_layer = rule(
    implementation = _layer_impl,
    doc = "A layer of artifacts, or of another one's bytecode.",
    provides = [FlyteLayerInfo],
    attrs = {
        "spec": attr.string(mandatory = True, doc = "The layer as the assembler takes it, JSON."),
        "artifacts": attr.label_keyed_string_dict(allow_files = True, doc = "Files, and the SHA-256 of each."),
        "of": attr.label(providers = [FlyteLayerInfo], doc = "Of a layer of bytecode: the one of its modules."),
        "interpreter": attr.label(providers = [FlytePythonInfo], cfg = "exec", doc = "What compiles them."),
    } | TOOL_ATTRIBUTES,
)
