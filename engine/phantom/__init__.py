"""A thorax of known anatomy and known motion: the demo case, the tests' case and training data."""
