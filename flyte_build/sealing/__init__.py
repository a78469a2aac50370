"""Sealed steps: programs run once, in a sandbox over exactly the image below them, and what they changed as a layer.

Never decides what is run, resolves nothing, and knows neither locks nor images: a step and the layers below it come in,
an outcome goes out. The function is :func:`seal`; ``docs/sealed-steps.md`` says what is promised.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .keeping import Stages
    from .limits import Limits
    from .modules import modules_of
    from .nouns import Below, Copy, Mount, Outcome, Secret, Step
    from .sealing import seal
    from .sketching import differing, first_difference, sketch

__all__ = ["Below", "Copy", "Limits", "Mount", "Outcome", "Secret", "Stages", "Step", "differing", "first_difference",
           "modules_of", "seal", "sketch"]  # fmt: skip

__getattr__ = offering(
    __name__,
    {
        "keeping": "Stages",
        "limits": "Limits",
        "modules": "modules_of",
        "nouns": "Below Copy Mount Outcome Secret Step",
        "sealing": "seal",
        "sketching": "differing first_difference sketch",
    },
)
