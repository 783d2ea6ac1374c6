"""Contracts, sources, checks, encoding, splits and profiles of tabular data."""
