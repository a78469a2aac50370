"""The forms of ``flyte-build export``, one module a command."""
