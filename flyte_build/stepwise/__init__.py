"""An image in steps, each a process of its own, from its lock alone: what Nix and Bazel run beside the assembler.

    python -I -S FOLDER files LOCK PLATFORM STEP OUT --root DIR      what a copy step copies, as a finished layer
    python -I -S FOLDER image LOCK PLATFORM OUT --layer DIR ...      finished layers, joined to the image
    python -I -S FOLDER check LOCK PLATFORM LAYOUT                   the image, held against the lock's pin

Layers of artifacts are made by ``flyte_build/assemble layer``. Standard library only: neither flyte nor the user's
code is there. Which layers an image has is decided here as everywhere, by ``derivation.derive``; whoever grouped
artifacts otherwise hears of it. Never uses a network, never chooses anything.
"""
