"""The interpreter that Nix runs the assembler and pip with, asked for like any other environment's Python.

It is locked by the same command as every environment, and never built into an image:

    flyte-build lock rules/nix/builder.py --lockfiles flyte_build/toolchain
"""

import flyte

env = flyte.TaskEnvironment(
    name="builder",
    image=flyte.Image.from_debian_base(python_version=(3, 11), install_flyte=False).with_apt_packages("python3-pip"),
)
