from gateway.responses.ids import new_response_id
from gateway.responses.keeping import Kept, is_expired, to_drop

NOW = 1_000_000_000
TTL_S = 100.0


def kept(tenant, age_s, size_bytes=10):
    return Kept(tenant, new_response_id(NOW - age_s), size_bytes)


def test_what_is_too_old_goes():
    old, young = kept("a", 100), kept("a", 99)
    assert is_expired(old.id, NOW, TTL_S)
    assert to_drop([old, young], NOW, TTL_S, 1000) == [old]


def test_the_oldest_of_whoever_has_most_goes_first():
    mine = [kept("me", age_s) for age_s in (5, 50, 20)]
    theirs = [kept("them", 90)]
    assert to_drop([*mine, *theirs], NOW, TTL_S, 40) == []
    assert to_drop([*theirs, *mine], NOW, TTL_S, 39) == [mine[1]]
    assert to_drop([*theirs, *mine], NOW, TTL_S, 20) == [mine[1], mine[2]]


def test_it_goes_on_until_there_is_room():
    everything = [kept(tenant, age_s) for tenant in "abc" for age_s in range(3)]
    assert len(to_drop(everything, NOW, TTL_S, 30)) == 6
    assert {one.tenant for one in to_drop(everything, NOW, TTL_S, 60)} == set("abc")
    assert to_drop(everything, NOW, TTL_S, 0) != []
    assert to_drop([], NOW, TTL_S, 0) == []


def test_expired_ones_make_room():
    old, young = kept("a", 200, size_bytes=90), kept("a", 1, size_bytes=20)
    assert to_drop([old, young], NOW, TTL_S, 20) == [old]
