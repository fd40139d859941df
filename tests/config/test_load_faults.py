from typing import get_args

from config.load_faults import LoadFault, public_reason


def test_each_has_words_of_its_own_and_points_to_the_log():
    told = [public_reason(fault) for fault in get_args(LoadFault)]
    assert len(set(told)) == len(told)
    assert all(text.endswith("; the server's log says more") for text in told)
