"""The interpreter as a repository: locked Debian packages, unpacked by the static program that this tree has.

It is a repository and not an action, because packages hold absolute links, which no output of an action may be. The
unpacker runs on the machine that runs Bazel, and unpacks for any: an interpreter for remote workers of another
processor comes out the same.
"""

_TRIPLETS = {
    "linux/amd64": ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
    "linux/arm64": ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
}
_MACHINES = {
    "amd64": "x86_64",
    "x86_64": "x86_64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
}
_BUILD = """load("@flyte_build//rules/bazel:python.bzl", "locked_python")

locked_python(
    name = "python",
    root = "root.txt",
    loader = "{folder}/{triplet}/{loader}",
    libraries = ["lib/{triplet}", "usr/lib/{triplet}"],
    program = "{program}",
    files = ["root.txt", "{program}"] + glob(
        [
            "lib/{triplet}/*.so*",
            "usr/lib/{triplet}/*.so*",
            "usr/lib/python{python}/**",
            "relocated/python/lib/**",
        ],
        allow_empty = True,
    ),
    visibility = ["//visibility:public"],
)
"""

def _impl(ctx):
    machine = _MACHINES.get(ctx.os.arch)
    if ctx.os.name != "linux" or not machine:
        fail("the locked interpreter is unpacked on Linux (amd64, arm64), and this is %s on %s: set " %
             (ctx.os.name, ctx.os.arch) + "--@flyte_build//rules/bazel:python to a target of your own")
    unpack = ctx.path(Label("//rules/nix/seed:undeb-%s-linux" % machine))
    done = ctx.execute([unpack, "."] + [ctx.path(deb) for deb in ctx.attr.debs])
    if done.return_code != 0:
        fail("unpacking the locked interpreter failed: " + done.stderr)
    triplet, loader = _TRIPLETS[ctx.attr.platform]
    ctx.file("root.txt", "Paths of the interpreter start here.\\n", executable = False)
    program = "usr/bin/python%s" % ctx.attr.python
    if ctx.attr.archive:
        ctx.extract(ctx.path(ctx.attr.archive), output = "relocated")
        program = "relocated/python/bin/python%s" % ctx.attr.python

    # Debian moved the loader's file into /usr with trixie.
    folder = "lib" if ctx.attr.suite == "bookworm" else "usr/lib"
    build = _BUILD.format(triplet = triplet, loader = loader, folder = folder, python = ctx.attr.python, program = program)
    ctx.file("BUILD.bazel", build, executable = False)

locked_interpreter = repository_rule(
    implementation = _impl,
    attrs = {
        "platform": attr.string(mandatory = True, values = _TRIPLETS.keys()),
        "python": attr.string(mandatory = True),
        "suite": attr.string(mandatory = True),
        "archive": attr.label(allow_files = [".tar.gz"], doc = "A relocatable Python, which is run instead of Debian's."),
        "debs": attr.label_list(mandatory = True, allow_files = [".deb"]),
    },
)
