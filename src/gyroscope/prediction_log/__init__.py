"""Predictions as they were served, and the labels that came later."""
