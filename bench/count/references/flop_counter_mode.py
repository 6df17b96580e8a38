"""torch's FlopCounterMode, which runs on the meta device too: two FLOPs are one MAC."""

from torch import Tensor, nn

from vidcost.bench.count.counter import Count, unfused
from vidcost.bench.count.references.reference import Printed, Reference, Term, Terms
from vidcost.bench.count.rules import PRODUCTS

_SEEN = ("convolution", "mm", "bmm", "addmm", "baddbmm", "_scaled_mm")
"""Products with a formula."""


def _profile(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    # imports torch's compiler, which takes a second
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    # attention in parts, as on the meta device: it does not know the CPU's fused kernel
    with unfused(model), counter:
        model(*inputs)
    # without products there are none
    flops = counter.get_flop_counts().get("Global", {})
    by_category = [
        ("convolutions" if "conv" in str(operator) else "products", amount / 2)
        for operator, amount in flops.items()
    ]
    return Printed(sum(amount for _, amount in by_category), None, by_category)


def _flop_terms(model: nn.Module, count: Count) -> tuple[Term, ...]:
    terms = Terms()
    for operation in count.operations:
        if operation.kind in PRODUCTS and operation.operator not in _SEEN:
            terms.add(f"{operation.operator} unseen", "products", -operation.amount)
    return terms.done()


COUNTER = Reference(name="torch", profile=_profile, flop_terms=_flop_terms, param_terms=None)
