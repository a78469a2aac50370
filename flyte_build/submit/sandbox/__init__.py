"""Isolation of one task on this machine: namespaces, mounts, limits. It knows processes, not Flyte.

``spec`` says what a sandbox is, ``bubblewrap`` and ``namespaces`` are the two ways into it, ``engines`` finds one
that works here or explains why none does, ``process`` runs and ends one, ``cgroups`` limits it, ``seccomp`` filters its
system calls. ``init`` is process 1 inside.
"""
