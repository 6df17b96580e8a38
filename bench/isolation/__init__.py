"""A function called in a process of its own, whatever it does there."""
