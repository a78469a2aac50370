"""Functions of others by what they do with callables that they are given, by their last name: ``asyncio.to_thread`` is
``to_thread``. Whatever is in neither list may call them."""

from __future__ import annotations

__all__ = ["CALLING", "LAUNCHING", "LOOKING"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CALLING = _words(
    """
    map amap filter reduce starmap imap imap_unordered apply apply_async to_thread run_sync run_in_executor submit
    call_soon call_soon_threadsafe Thread Process Timer retry_call
    """
)
"""These call what they are given."""

LOOKING = _words(
    """
    print isinstance issubclass repr str len id type hash bool dir vars hasattr callable getattr format cast debug info
    warning error exception critical log wraps update_wrapper signature getsource iscoroutinefunction partial
    list tuple set frozenset sorted reversed iter next enumerate zip dict
    """
)
"""These do not; what they pass on is followed."""

LAUNCHING = _words("run deploy serve")
"""These start a run of its own, if they are the SDK's."""
