"""The interpreter of all actions: Debian's Python out of locked packages, run through its own dynamic loader.

Nothing of the machine that runs an action takes part: no Python, no C library, no shell. That is what lets remote
workers be bare. Another interpreter can be put in its place (`--@flyte_build//rules/bazel:python=LABEL`, a target with
`FlytePythonInfo`): the images stay the same to the byte, because the assembler's output does not depend on it.
"""

FlytePythonInfo = provider(
    doc = "How actions run Python.",
    fields = {
        "executable": "path of the program, from the execution root or absolute",
        "arguments": "what goes before Python's own arguments",
        "files": "depset of the files that it needs",
    },
)

_TRIPLETS = {
    "linux/amd64": ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
    "linux/arm64": ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
}

def _locked_impl(ctx):
    triplet, loader = _TRIPLETS[ctx.attr.platform]
    tree = ctx.actions.declare_directory(ctx.label.name)
    arguments = ctx.actions.args()
    arguments.add(tree.path)
    arguments.add_all(ctx.files.debs)
    ctx.actions.run(
        executable = ctx.file._unpack,
        arguments = [arguments],
        inputs = ctx.files.debs,
        outputs = [tree],
        mnemonic = "FlyteUnpack",
        progress_message = "Unpacking the locked Python %s" % ctx.attr.python,
        execution_requirements = {"block-network": "1"},
        env = {},
    )
    libraries = ":".join(["%s/%s/%s" % (tree.path, folder, triplet) for folder in ("lib", "usr/lib")])
    return [
        DefaultInfo(files = depset([tree])),
        FlytePythonInfo(
            executable = "%s/lib/%s/%s" % (tree.path, triplet, loader),
            arguments = ["--library-path", libraries, "%s/usr/bin/python%s" % (tree.path, ctx.attr.python)],
            files = depset([tree]),
        ),
    ]

locked_python = rule(
    implementation = _locked_impl,
    doc = "A Python of locked Debian packages, for one platform.",
    provides = [FlytePythonInfo],
    attrs = {
        "platform": attr.string(mandatory = True, values = _TRIPLETS.keys()),
        "python": attr.string(mandatory = True),
        "debs": attr.label_list(allow_files = [".deb"], mandatory = True),
        "_unpack": attr.label(default = "//rules/nix/seed:unpack", allow_single_file = True, cfg = "exec"),
    },
)

def _host_impl(ctx):
    return [FlytePythonInfo(executable = ctx.attr.path, arguments = [], files = depset())]

host_python = rule(
    implementation = _host_impl,
    doc = "A Python ≥ 3.11 that every machine which runs actions has at `path`.",
    provides = [FlytePythonInfo],
    attrs = {"path": attr.string(mandatory = True)},
)
