"""Gates a version must pass before it may challenge or serve."""
