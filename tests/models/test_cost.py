from vidcost.models.cost import Cost

# params, conv, linear, matmul, norm, pool, softmax, activation
A = Cost(2, 3, 5, 7, 11, 13, 17, 19)
B = Cost(100, 200, 300, 400, 500, 600, 700, 800)


def test_costs_add_field_by_field():
    assert (15, 900, 0) == (A.macs, B.macs, Cost().macs)
    assert Cost(102, 203, 305, 407, 511, 613, 717, 819) == A + B
