from gateway.auth.seldom import Seldom


def test_the_first_time_is_told():
    assert Seldom(5.0).times(1000.0) == 1


def test_what_happens_meanwhile_is_counted_and_told_with_the_next():
    seldom = Seldom(5.0)
    assert [seldom.times(now) for now in (0.0, 1.0, 4.9, 5.0, 5.1, 20.0)] == [1, 0, 0, 3, 0, 2]
