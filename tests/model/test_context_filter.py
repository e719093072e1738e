"""Which sockets belong to a context."""

from typing import Any

import pytest

from wirewright.model.context_filter import ContextFilter
from wirewright.model.origin import Origin

PHONE = Origin(("192.168.1.7", 50_000), 8081, "phone")


@pytest.mark.parametrize(
    ("wanted", "is_accepted"),
    [
        ({"client": "192.168.1.7"}, True),
        ({"client": "192.168.1.8"}, False),
        ({"port": 8081}, True),
        ({"port": 8082}, False),
        ({"user": "phone"}, True),
        ({"user": "Phone"}, False),
        ({"client": "192.168.1.7", "port": 8081, "user": "phone"}, True),
        ({"client": "192.168.1.8", "port": 8081, "user": "phone"}, False),
        ({"client": "192.168.1.7", "port": 8082, "user": "phone"}, False),
        ({"client": "192.168.1.7", "port": 8081, "user": "tablet"}, False),
    ],
)
def test_socket_has_all_that_is_given(wanted: dict[str, Any], is_accepted: bool) -> None:
    assert ContextFilter(**wanted).accepts(PHONE) is is_accepted


@pytest.mark.parametrize(
    ("given", "seen", "is_same"),
    [
        ("192.168.1.7", "::ffff:192.168.1.7", True),
        ("::ffff:192.168.1.7", "192.168.1.7", True),
        ("FE80:0:0::1%eth0", "fe80::1", True),
        ("fe80::1", "fe80::1%3", True),
        ("::1", "127.0.0.1", False),
        ("192.168.1.7", "not an address", False),
    ],
)
def test_addresses_are_the_same_however_they_are_written(given: str, seen: str, is_same: bool) -> None:
    assert ContextFilter(client=given).accepts(Origin((seen, 50_000))) is is_same


@pytest.mark.parametrize("wanted", [{"client": "192.168.1.7"}, {"port": 8081}, {"user": "phone"}])
def test_socket_of_which_that_is_not_known_is_not_accepted(wanted: dict[str, Any]) -> None:
    assert not ContextFilter(**wanted).accepts(Origin())


def test_misfits_are_what_a_socket_has_instead() -> None:
    outer = ContextFilter(client="192.168.1.8", user="phone")
    inner = ContextFilter(port=8082, user="tablet", parent=outer)
    assert inner.misfits(PHONE) == [("client", "192.168.1.7"), ("port", 8081), ("user", "phone")]
    assert outer.misfits(Origin()) == [("client", None), ("user", None)]
    assert ContextFilter(user="phone").misfits(PHONE) == []


def test_context_of_a_context_has_the_conditions_of_both() -> None:
    outer = ContextFilter(user="phone", port=8081)
    assert ContextFilter(client="192.168.1.7", parent=outer).accepts(PHONE)
    assert not ContextFilter(client="192.168.1.8", parent=outer).accepts(PHONE)
    assert not ContextFilter(client="192.168.1.7", parent=ContextFilter(user="tablet")).accepts(PHONE)


def test_port_of_an_outer_context_is_the_only_one_too() -> None:
    outer = ContextFilter(port=8081)
    assert outer.only_port == ContextFilter(user="phone", parent=outer).only_port == 8081
    assert ContextFilter(user="phone").only_port is None


def test_filter_shows_its_conditions() -> None:
    outer = ContextFilter(client="::ffff:192.168.1.7", user="phone")
    assert str(outer) == "client='192.168.1.7' user='phone'"
    assert str(ContextFilter(port=8081, parent=outer)) == "client='192.168.1.7' user='phone' port=8081"


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ({}, ValueError, "^a context needs a client, a port or a user$"),
        (
            {"client": "phone"},
            ValueError,
            '^client must be the IP address of a device, such as "192.168.1.7"',
        ),
        ({"client": ""}, ValueError, "^client must be the IP address of a device.* not ''$"),
        ({"client": "192.168.1.0/24"}, ValueError, "not '192.168.1.0/24'$"),
        ({"client": ("192.168.1.7", 80)}, TypeError, "^client must be an IP address as a str, not tuple$"),
        ({"port": 0}, ValueError, "^port must be 1 to 65535, not 0$"),
        ({"port": 65_536}, ValueError, "^port must be 1 to 65535, not 65536$"),
        ({"port": "8081"}, TypeError, "^port must be an int, not str$"),
        ({"port": True}, TypeError, "^port must be an int, not bool$"),
        ({"user": ""}, ValueError, '^user must be a name, such as "phone-2"$'),
        ({"user": 2}, TypeError, "^user must be a str, not int$"),
    ],
)
def test_wrong_condition_is_refused_with_a_sentence(
    wanted: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ContextFilter(**wanted)
