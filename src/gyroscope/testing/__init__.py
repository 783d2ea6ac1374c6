"""Contract suites and synthetic worlds, for our tests and for users' own parts."""
