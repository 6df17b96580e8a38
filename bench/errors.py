"""Errors for people."""


def named(error: BaseException) -> str:
    """The error's class and its message, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
