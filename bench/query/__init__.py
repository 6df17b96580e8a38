"""Questions in SQL about what is stored in results/."""
