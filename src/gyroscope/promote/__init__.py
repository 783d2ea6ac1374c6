"""Challenger against champion, and moving the aliases."""
