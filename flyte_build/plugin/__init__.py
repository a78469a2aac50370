"""The plug-in to the Flyte SDK: what its entry points load (``pyproject.toml``), and what they share.

| the SDK asks | it gets |
|---|---|
| ``flyte.plugins.image_builders``: ``flyte-build`` | :class:`flyte_build.plugin.builder.FlyteBuildImageBuilder` |
| ``flyte.plugins.cli.hooks``: ``build``, ``run``, ``deploy``, ``serve`` | :func:`flyte_build.plugin.hooks.pin_images` |
| ``flyte.plugins.cli.commands``: ``lock``, ``plan`` | :mod:`flyte_build.plugin.commands` |

It never joins stages: the workbench does. Scripts use :mod:`flyte_build.plugin.pinning`. The SDK loads entry points
while it lists its commands, so nothing here imports anything heavy before it is asked to act.
"""
