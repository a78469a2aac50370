"""Forecast, and say how sure that is."""
