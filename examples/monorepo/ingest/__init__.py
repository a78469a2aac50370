"""Bring what shops, suppliers and the weather service know into tables."""
