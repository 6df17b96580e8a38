"""Measuring on behalf of a person: devices, files, progress."""
