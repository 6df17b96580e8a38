"""What is known about a paper or a model zoo: a folder each, found by its name."""
