"""A real Kubernetes on one bare machine, for the tests that must see what Kubernetes does.

API server, etcd, controllers, scheduler, kubelet, containerd, a registry and an S3 store, on loopback and on a network
of the cluster's own. `./dev cluster up` starts it; :class:`tests.cluster.cluster.Cluster` is the same for tests.
"""
