from itertools import combinations

from vidcost.bench.report.page.labels import MARGIN, POINT, Box, place


def test_a_label_stands_right_of_its_point_where_there_is_room():
    ((text, box, align),) = place([(100, 50, "abc")], right=300)
    assert ("abc", 100 + POINT + 2, "left") == (text, box.left, align)


def test_at_the_right_edge_it_stands_left():
    (placed,) = place([(100, 50, "abcdef")], right=110)
    assert ("right", 100 - POINT - 2) == (placed.align, placed.box.right)


def test_labels_meet_neither_each_other_nor_points():
    points = [(100 + 9 * k, 50 + 4 * k, f"label {k}") for k in range(5)]
    placed = place(points, right=400)
    assert len(placed) > 2
    assert not [1 for a, b in combinations(placed, 2) if a.box.meets(b.box)]
    dots = [Box(x - 4, y - 4, x + 4, y + 4) for x, y, _ in points]
    assert not [1 for each in placed for dot in dots if each.box.meets(dot)]


def test_where_there_is_no_room_there_is_no_label():
    crowd = [(50, 50, "x" * 9)] * 12
    assert len(place(crowd, right=100)) < 12
    assert [] == place([(5, 5, "x" * 99)], right=100)


def test_the_line_is_left_free_if_it_can_be():
    (free,) = place([(100, 50, "abc")], [(100, 50), (300, 20)], right=400)
    assert not free.box.meets(Box(100, 49, 300, 51))
    # so wide that only the place on the line is within the plot
    (on_it,) = place([(0, 50, "x" * 20)], [(0, 50), (200, 50)], right=150)
    assert on_it.box.left >= -MARGIN
