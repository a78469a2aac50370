"""The verb of a workbench that keeps tasks of a file for runs of this machine, or a target, to find by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .inquiring import Inquiring

if TYPE_CHECKING:
    from .deploying import Deployed
    from .following import Follower

__all__ = ["Registering"]


class Registering(Inquiring):
    """Arguments as :class:`flyte_build.workbench.Workbench` has them."""

    def deploy(
        self,
        task: str | None = None,
        *,
        env: Sequence[str] = (),
        version: str = "",
        project: str | None = None,
        domain: str | None = None,
        caches: Sequence[str] = (),
        check: bool = True,
        locked: bool = False,
        follower: Follower | None = None,
        on: str | None = None,
    ) -> Deployed:
        """Make the images of ``task``'s environment and all it reaches, of ``env``, or of all, and keep their tasks
        with them, so that ``flyte.remote.Task.get`` finds them in runs of this machine, or of the target ``on``.

        ``version``: theirs (default: made of code, images and what they ask for). ``project``, ``domain``: where they
        are looked for (default: those of runs here). Raises :class:`InputError` for a version that is there with other
        contents, and what building raises.
        """
        from .deploying import deploy

        return deploy(
            self, self.select(task, env), version=version, project=project, domain=domain,
            caches=caches, check=check, locked=locked, follower=follower, on=on,
        )  # fmt: skip
