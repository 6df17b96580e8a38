"""Which counter is right on which operator."""
