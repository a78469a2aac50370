"""Image registries as the place where images go, and where machines share what they made.

``entries`` is the form of realisations in a registry (pure), ``cache`` asks for them, ``elsewhere`` is what one build
needs of it, ``pull`` brings layers into the store, ``listing`` reads what a layer holds. ``target`` names where images
go, ``blobs`` moves bytes, ``publish`` pushes, ``deposit`` writes to the cache. ``connecting`` opens it all; the
protocol itself is ``flyte_build.registry``'s.
"""
