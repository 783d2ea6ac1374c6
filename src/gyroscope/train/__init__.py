"""From data to a registered version, step by step."""
