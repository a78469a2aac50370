"""A lock in the forms of other tools, for those who bring no containers, or bring their own builder.

``requirements`` and ``pylock`` write a lock's wheels for pip, uv and Bazel's rules, ``pex`` makes them one executable
file, ``nix`` writes a flake. ``rows`` is what the first two have in common, ``wheels`` the bytes by hash. Each names
content and no index (law 1), and gives the same bytes for the same lock.
"""
