"""The codes and reasons of close frames (RFC 6455, 7.4, and IANA's registry), and the ends they go to."""

import pytest

from wirewright.model.close_codes import check_close, check_how

SENDABLE = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


def test_codes_that_may_stand_in_a_close_frame() -> None:
    for code in SENDABLE:
        check_close(code, "é" * 61 + "!")


def test_codes_that_may_not() -> None:
    for code in {*range(-1, 5100), 65536} - SENDABLE:
        with pytest.raises(ValueError, match=r"^code must be 1000 to 1003, 1007 to 1014 or 3000 to 4999"):
            check_close(code, "")


@pytest.mark.parametrize("how", ["", "RST", None])
def test_ways_to_cut_that_do_not_exist(how: str) -> None:
    check_how("fin")
    check_how("rst")
    with pytest.raises(ValueError, match=r"^how must be 'fin' or 'rst', not "):
        check_how(how)
