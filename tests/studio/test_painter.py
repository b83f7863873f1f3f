import threading

from scorelift.studio.painter import COARSEST, FINE_S, QUICK_S, Pace, Painter


def test_the_pace_follows_what_pictures_took():
    pace = Pace()
    for _ in range(20):
        pace.took(256, 4 * QUICK_S)
    assert pace.side(1024) == 128
    assert pace.side(96) == 96
    assert pace.side(2000, FINE_S) == 904  # no picture is waited for much longer than that
    for _ in range(20):
        pace.took(256, 1000.0)
    assert pace.side(1024) == COARSEST


def test_quick_pictures_first_and_the_fine_one_at_rest():
    painted, rested = [], threading.Event()

    def paint(side, last):
        painted.append((side, last))
        if last:
            rested.set()

    painter = Painter(paint, lambda: 512, rest_s=0.01)
    painter.start()
    assert rested.wait(10)
    rested.clear()
    painter.changed()
    assert rested.wait(10)
    painter.close()
    count = len(painted)
    painter.changed()
    assert painted[0] == (128, False)
    assert painted[-1] == (512, True)
    assert [side for side, last in painted if last] == [512, 512]
    assert len(painted) == count == 4
