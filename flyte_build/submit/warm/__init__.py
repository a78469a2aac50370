"""Actions as forks: an interpreter of an image that has imported the runtime, and every action a copy of it.

``becoming``, ``worker``, ``rehearsing`` and ``stillness`` run in a sandbox, with the image's Python; ``forked`` is one
action to the launcher, and ``pool`` has the workers of a run and says which actions they can take. A fork's sandbox is
made by ``sandbox/enter``, of what the launcher says of any sandbox; it knows processes, not Flyte's engine.

An environment that asks to be reused has replicas instead: ``replica`` is one inside, ``replicas`` says how many there
are and what runs in which, each of which is a ``member``. A replica in a pod has ``calling`` besides.
"""
