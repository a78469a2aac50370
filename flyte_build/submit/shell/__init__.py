"""A visit to an image: one command in a sandbox like a task's, with streams that people sit at.

``streams`` are our side of them, ``inside`` takes the other in the sandbox, ``visit`` is the whole from furnishing to
the command's end. Never hands a file, terminal or socket of the host's to what runs inside.
"""
