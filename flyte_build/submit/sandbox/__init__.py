"""Isolation of one task on this machine: namespaces, mounts, limits. It knows processes, not Flyte.

``spec`` says what a sandbox is, ``bubblewrap`` and ``namespaces`` are the two ways into it, ``engines`` finds them and
tries one, ``entrance`` chooses with what around it: ``outside`` makes that. ``process`` runs and ends a sandbox,
``kernel.cgroups`` limits it, ``kernel.seccomp`` filters its system calls. ``init`` is process 1 inside.
"""
