"""The whole command line against an archive and an index on the loopback, in a project of its own a test."""

from ..support.offline_fixtures import offline, published, registry, signer

__all__ = ["offline", "published", "registry", "signer"]
