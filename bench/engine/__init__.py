"""Where function calls are made: here one after another, or on the nodes of a Ray cluster."""
