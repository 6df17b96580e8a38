"""Plots drawn by Altair: one file per plot, with its data."""
