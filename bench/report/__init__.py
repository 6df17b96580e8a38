"""Everything that writes for people: tables, documents, plots, and what CI systems read."""
