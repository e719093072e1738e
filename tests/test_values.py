import math
import re
from typing import Any

import pytest

from wirewright import Conditions


def test_conditions_are_perfect_by_themselves() -> None:
    assert Conditions().is_perfect
    assert Conditions(seed=5).is_perfect


@pytest.mark.parametrize(
    "changed",
    [
        {"latency": 1},
        {"jitter": 0.5},
        {"bytes_per_second": 100},
        {"drop": 0.1},
        {"duplicate": 1},
        {"reorder": 0.5},
        {"stall_after": 0},
    ],
)
def test_each_parameter_makes_a_difference(changed: dict[str, Any]) -> None:
    assert not Conditions(**changed).is_perfect


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"latency": -1}, "latency must be milliseconds, 0 or more, not -1"),
        ({"latency": math.inf}, "latency must be milliseconds, 0 or more, not inf"),
        ({"latency": "slow"}, "latency must be milliseconds, 0 or more, not 'slow'"),
        ({"jitter": math.nan}, "jitter must be milliseconds, 0 or more, not nan"),
        ({"bytes_per_second": 0}, "bytes_per_second must be more than 0: with stall_after=0 nothing passes"),
        ({"bytes_per_second": -5}, "bytes_per_second must be more than 0, or None, not -5"),
        ({"drop": 1.1}, "drop must be a probability from 0 to 1, not 1.1"),
        ({"duplicate": True}, "duplicate must be a probability from 0 to 1, not True"),
        ({"reorder": None}, "reorder must be a probability from 0 to 1, not None"),
        ({"stall_after": 1.5}, "stall_after must be a number of messages, or None, not 1.5"),
        ({"stall_after": -1}, "stall_after must be a number of messages, or None, not -1"),
    ],
)
def test_what_is_no_condition(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        Conditions(**changed)


def test_seed_is_a_number() -> None:
    with pytest.raises(TypeError, match="seed must be an int, not '1'"):
        Conditions(seed="1")  # type: ignore[arg-type]
