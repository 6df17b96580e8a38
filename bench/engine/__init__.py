"""Where pieces of work run: here one after another, or on the nodes of a Ray cluster."""
