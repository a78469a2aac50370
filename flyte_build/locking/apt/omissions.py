"""Packages that an image without maintainer scripts has no use for, and why each is left out.

Debian's dependencies serve two masters: the program at run time, and the scripts that dpkg runs when the
package is installed. No script runs here, so what only scripts call is cut. The list is explicit, never a
guess; what was cut, and who had asked for it, is reported with every resolution. A package that the user
names is installed whatever this list says, with its own dependencies, still cut as below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ESSENTIAL_REASON", "OMISSIONS", "UNUSED_ESSENTIAL", "Omission"]

ESSENTIAL_REASON = "Essential on an installed Debian, but nothing in the image depends on it"


@dataclass(frozen=True, slots=True)
class Omission:
    """Why a package is cut. ``only_from``: it is cut only as a dependency of these (empty: of all); never of
    those in ``kept_for``, which call it at run time."""

    reason: str
    only_from: frozenset[str] = frozenset()
    kept_for: frozenset[str] = frozenset()

    def applies(self, requirer: str | None) -> bool:
        """Whether the dependency of ``requirer`` (``None``: the user) is cut."""
        if requirer is None or requirer in self.kept_for:
            return False
        return not self.only_from or requirer in self.only_from


OMISSIONS: Mapping[str, Omission] = {
    "adduser": Omission("creates users in maintainer scripts; the image's users are written declaratively"),
    "debconf": Omission(
        "asks questions in maintainer scripts",
        kept_for=frozenset({"apt-listchanges", "debconf-i18n", "debconf-utils", "po-debconf", "python3-debconf"}),
    ),
    "cdebconf": Omission("asks questions in maintainer scripts"),
    "dpkg": Omission(
        "named for the triggers and helpers of maintainer scripts; nothing is installed inside the image",
        kept_for=frozenset(
            {
                *(
                    "apt-build",
                    "debhelper",
                    "debootstrap",
                    "dgit",
                    "dlocate",
                    "dpkg-dev",
                    "dpkg-repack",
                    "libdpkg-perl",
                ),
                *("lintian", "mmdebstrap", "multistrap", "needrestart", "reportbug"),
            }
        ),
    ),
    "init-system-helpers": Omission("enables and restarts services in maintainer scripts; no init system runs"),
    "openssl": Omission(
        "named for update-ca-certificates; the bundle is written declaratively",
        only_from=frozenset({"ca-certificates"}),
    ),
    "ucf": Omission("merges changed configuration files in maintainer scripts"),
}
"""``perl-base`` is not here although Essential: whoever depends on it (``perl``, for ``git``) runs it."""

UNUSED_ESSENTIAL = frozenset({*OMISSIONS, "login"})
"""The Essential packages that are not there by themselves once a package is asked for: the others are, as packages may
take them for granted (Debian Policy, 3.8). Nobody logs in to an image, and PAM is what its scripts make of it."""
