"""Benchmarks: what flyte-build costs, against a floor and against a peer, measured side by side.

``python -m benchmarks`` runs them; README.md says how they measure and what was seen. Nothing here is a test, and
nothing in ``flyte_build`` knows of it.
"""
