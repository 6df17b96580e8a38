"""The paper's cost formulas in symbols, what is claimed of them, where blocks cost the same."""
