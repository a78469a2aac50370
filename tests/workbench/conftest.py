"""A project against an archive and an index on the loopback, as the tests of the command line have it."""

from ..support.offline_fixtures import offline, published, signer
from ..support.repository import repository

__all__ = ["offline", "published", "repository", "signer"]
