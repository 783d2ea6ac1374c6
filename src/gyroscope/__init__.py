"""The autopilot for tabular machine-learning models in production."""

__version__ = "0.1.0"
