"""Two subjects → what differs between them: ``flyte-build diff`` and ``plan --explain``.

``contents`` is the neutral value that every kind of subject is read into, ``difference`` compares two of them and
``wording`` says it in short; these are pure. ``subjects`` reads what a command line names, with ``revisions`` (git),
``stored`` (the store), ``layouts`` and ``tarfiles`` (any OCI image layout). Nothing here builds, fetches or writes.
"""
