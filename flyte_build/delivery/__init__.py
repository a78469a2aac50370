"""The ways out of the store that need no registry: folders and archives, local engines, bundles for other sites.

``destination`` says where, ``layout`` and ``archive`` write what other tools read, ``daemons`` loads into Docker and
podman, ``bundle`` and ``unbundle`` carry a project over an air gap. ``tarball`` is the ground floor. Nothing here
chooses what an image is made of, and nothing compresses.
"""

from .destination import Destination, deliver, parse_destination

__all__ = ["Destination", "deliver", "parse_destination"]
