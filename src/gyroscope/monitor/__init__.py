"""From a window of the prediction log to findings."""
