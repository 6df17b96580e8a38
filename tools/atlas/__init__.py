"""Published tables of video networks audited, and all their networks in one table."""
