"""The audit: printed figures held against counts, and recipes that would give them."""
