"""What the assembler refuses. It runs by itself, so it does not know the rest of the package's errors."""

__all__ = ["AssembleError"]


class AssembleError(Exception):
    """An input cannot become a layer: corrupt, hostile, or in conflict with another.

    ``artifact`` is the file name of the wheel, .deb or local file, where one is to blame.
    """

    def __init__(self, message: str, artifact: str | None = None) -> None:
        super().__init__(message if artifact is None else f"{artifact}: {message}")
        self.artifact = artifact
