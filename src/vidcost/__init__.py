"""What a long-range video block really costs: models, exact counts, measurements, verdicts."""
