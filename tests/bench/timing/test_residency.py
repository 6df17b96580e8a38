import torch

from vidcost.bench.timing.residency import Residency


def meta(*shape):
    return torch.empty(shape, device="meta")


def test_the_peak_is_what_is_alive_at_once():
    x, w = meta(3, 5), meta(5, 7)
    with Residency() as residency:
        y = x @ w  # 3 x 7 x 4 bytes
        z = y.relu()
        assert 168 == residency.alive_bytes
        del y
        assert 84 == residency.alive_bytes
        z = z.sum()
    assert (4, 168) == (residency.alive_bytes, residency.peak_bytes)
    assert z.shape == ()


def test_a_view_and_an_operation_in_place_hold_no_more_than_their_tensor():
    x = meta(3, 5)
    with Residency() as residency:
        y = x + 1
        view = y.t()[1:]
        y.mul_(2)
        assert 60 == residency.peak_bytes
        del y
        assert 60 == residency.alive_bytes
        del view
    assert 0 == residency.alive_bytes


def test_what_is_held_counts_until_it_is_gone_and_what_is_ignored_never():
    clip, weight = meta(11), meta(13)
    residency = Residency()
    residency.hold(clip)
    residency.ignore(weight)
    with residency:
        view = weight[2:]
        assert 44 == residency.alive_bytes
        y = clip * 2
        del clip
    assert (44, 88) == (residency.alive_bytes, residency.peak_bytes)
    assert (11, 11) == (view.numel(), y.numel())


def test_autograd_holds_what_the_backward_pass_needs():
    x = meta(3, 5).requires_grad_()
    residency = Residency()
    residency.ignore(x)
    with residency:
        y = (x * 2).sigmoid()  # sigmoid saves its result, 60 bytes; the product is freed
        assert (60, 120) == (residency.alive_bytes, residency.peak_bytes)
        total = y.sum()
        del y
        assert 64 == residency.alive_bytes
        total.backward()
        del total
    # the gradient alone is left
    assert 60 == residency.alive_bytes


def test_a_type_of_half_the_size_takes_half():
    x = meta(3, 5)
    with Residency() as residency:
        kept = [x.to(torch.bfloat16)]
    assert 30 == residency.alive_bytes == residency.peak_bytes
    assert 1 == len(kept)
