"""What another counter said of a row."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Status = Literal["answered", "missing", "wrong distribution", "crashed", "timed out", "unreadable"]


class Answer(BaseModel):
    """The integers of another counter, or why there are none.

    ``flops`` is in the counter's own convention and ``parts`` the same by heading, ``params`` what
    it saw of the parameters, None if it prints none. If ``status`` is not "answered", ``error``
    says in one line what happened.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    flops: int | None = None
    params: int | None = None
    parts: dict[str, int] = {}
    status: Status = "answered"
    error: str = ""
