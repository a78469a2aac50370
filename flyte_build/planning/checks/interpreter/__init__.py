"""An abstract interpreter of tasks: which calls a task may make, followed through the project's own code.

Never runs the user's code and never judges: it gives sets of what values may be, and the calls found with how certain
they are. ``calls`` is the way in; ``walker`` follows statements, ``evaluate`` expressions, ``frames`` functions.
"""
