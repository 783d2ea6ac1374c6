"""Channels that carry alarms to people."""
