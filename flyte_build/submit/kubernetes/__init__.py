"""Attempts as pods of a cluster: one Job an attempt, on images by digest, with the accelerators that its task asks for.

What a pod looks like (``pod``), where it may run (``profiles``) and what a cluster says of it (``sight``) are plain
functions of plain dicts. Nothing here builds images, or schedules: Kubernetes does, with Kueue where a queue is set.
"""
