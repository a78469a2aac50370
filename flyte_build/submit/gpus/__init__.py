"""NVIDIA's devices of this machine, for tasks that ask for one: what there is, who has which, what a sandbox gets.

``nouns`` are devices, ``here`` finds them by their nodes and the linker's cache, ``cdi`` in the files that the
container toolkit writes; ``bank`` counts, ``grant`` says what is mounted. Runs no program of the driver's.
"""
