"""What adoption is measured with: projects in the shapes that public Flyte files have, and a driver for any folder.

``generate`` writes projects of our own, as many of each shape as public files have of it; ``drive`` tries every Flyte
file below a folder (lock, plan, check; build and run on request) and sorts what comes of it. ``./dev corpus DIR``.
"""
