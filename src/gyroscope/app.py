"""Puts the parts together from the settings."""
