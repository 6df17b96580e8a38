"""What the gate and its study say to people and to CI systems."""
