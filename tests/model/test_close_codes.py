"""What may stand in a close frame."""

import pytest

from wirewright.model.close_codes import check_close


@pytest.mark.parametrize("code", [1000, 3000, 4999])
@pytest.mark.parametrize("as_server", [True, False])
def test_codes_that_everybody_may_send(code: int, as_server: bool) -> None:
    check_close(code, "é" * 61 + "!", as_server=as_server)


@pytest.mark.parametrize("code", [1001, 1002, 1003, 1007, 1008, 1011, 1012, 1013, 1014])
def test_codes_that_a_server_may_send_and_an_app_may_not(code: int) -> None:
    check_close(code, "", as_server=True)
    with pytest.raises(ValueError, match=rf"^code must be 1000 or 3000 to 4999, not {code}$"):
        check_close(code, "")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000])
def test_codes_that_nobody_may_send(code: int) -> None:
    with pytest.raises(ValueError, match=r"^code must be 1000 to 1003, 1007 to 1014 or 3000 to 4999"):
        check_close(code, "", as_server=True)
