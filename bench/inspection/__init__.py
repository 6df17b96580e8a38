"""What is counted of something that is no row: a user's network, a row with other blocks."""
