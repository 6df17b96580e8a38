"""What the audit says to people."""
