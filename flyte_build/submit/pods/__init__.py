"""Pod templates on this machine: what a sandbox can honour of a pod, and a line for each kind of thing that it cannot.

A pod of several containers is several sandboxes that share folders and, port by port, a loopback. Never asks a cluster:
what is only named there (templates, ConfigMaps, Secrets) has its stand-in in ``given``.
"""
