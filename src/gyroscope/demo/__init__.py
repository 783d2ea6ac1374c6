"""A year of New York flights, fast forward: the whole loop on real data."""
