"""The atlas: published tables of other networks audited, and all of them in one table."""
