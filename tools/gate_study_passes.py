"""Tests of passes of known lengths, for the gate's study; the environment says how much slower."""

import os
import time

import pytest
import torch


@pytest.mark.parametrize("ms", [1, 5, 20, 50])
def test_pass(time_gate, ms):
    """Matrix products of about ``ms`` milliseconds, and the fraction of a delay after them."""
    products = round(ms * float(os.environ["GATE_STUDY_PRODUCTS"]))
    slowdown = float(os.environ["GATE_STUDY_SLOWDOWN"])
    matrix = torch.eye(128) / 2

    def delayed():
        started = time.perf_counter()
        for _ in range(products):
            matrix @ matrix
        now = time.perf_counter()
        while time.perf_counter() < now + slowdown * (now - started):
            pass

    time_gate(delayed)
