"""What everyone stands on: errors, reporting, canonical JSON, paths, platforms, and links followed below a root.

Never knows a noun of ours: no recipe, lock or image. Its modules are imported by name; :mod:`flyte_build.errors` offers
the errors to the world.
"""
