"""From findings to a decision: a pure function."""
