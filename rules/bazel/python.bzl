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

def _locked_impl(ctx):
    libraries = ":".join(["%s/%s" % (ctx.file.root.dirname, folder) for folder in ctx.attr.libraries])
    return [FlytePythonInfo(
        executable = "%s/%s" % (ctx.file.root.dirname, ctx.attr.loader),
        arguments = ["--library-path", libraries, "%s/%s" % (ctx.file.root.dirname, ctx.attr.program)],
        files = depset(ctx.files.files),
    )]

locked_python = rule(
    implementation = _locked_impl,
    doc = "A Python of locked Debian packages (see interpreter.bzl).",
    provides = [FlytePythonInfo],
    attrs = {
        "root": attr.label(mandatory = True, allow_single_file = True, doc = "A file in the folder that paths start from."),
        "loader": attr.string(mandatory = True, doc = "The dynamic loader."),
        "libraries": attr.string_list(mandatory = True, doc = "Where it finds libraries."),
        "program": attr.string(mandatory = True, doc = "The interpreter."),
        "files": attr.label_list(mandatory = True, allow_files = True, doc = "All of it."),
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
