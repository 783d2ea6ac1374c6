"""The control plane: states, findings, decisions, jobs."""
