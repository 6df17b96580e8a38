"""Audits of what is printed of costs: of a paper with its rows, of published tables; the atlas."""
