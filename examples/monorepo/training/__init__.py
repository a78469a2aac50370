"""Fit, tune and compare models."""
