"""Gather, decide, act: the pilot and its jobs."""
