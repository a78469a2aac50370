"""Attacks and accidents: what somebody, or a machine, does to bytes, processes and folders behind our back."""
