"""What tasks ask of a Flyte backend besides their calls, as far as one machine answers it: tasks by name, child runs.

``application`` takes the requests, ``child_runs`` starts runs from within tasks, ``intake`` holds what tasks hand in,
``catalog`` finds tasks by name. What only a backend has is refused in words, never with a bare network error.
"""
