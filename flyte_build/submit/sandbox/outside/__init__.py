"""What is made around a sandbox before its engine starts: another owner of its processes, a network with a way out.

Runs with the host's Python, isolated (``-I -S``), as a package of its own that imports the standard library only, and
as little of it as it can: every action pays for it.
"""
