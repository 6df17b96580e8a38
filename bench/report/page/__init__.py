"""The report: stored results as one page that works offline, and as figures for papers."""
