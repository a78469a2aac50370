"""Locks + derivations + caches → a plan: what would be built, and why. Never builds, never fetches.

``closure`` walks ``depends_on``, ``plan`` compares derivations with what caches hold and says what is to do.
"""
