"""Which of the suite's cases are run, by their numbers."""

_GROUPS = {
    "1.1": 8, "1.2": 8, "2": 11, "3": 7, "4.1": 5, "4.2": 5, "5": 20,
    "6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4, "6.5": 5, "6.6": 11, "6.7": 4, "6.8": 2, "6.9": 4, "6.10": 3,
    "6.11": 5, "6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1, "6.16": 3, "6.17": 5, "6.18": 5, "6.19": 5,
    "6.20": 7, "6.21": 8, "6.22": 34, "6.23": 7,
    "7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2, "10.1": 1,
}  # fmt: skip
"""How many cases each group has. 9.* measures speed, which `bench/` does better."""

_COMPRESSION_GROUPS = [f"12.{group}" for group in range(1, 6)] + [f"13.{group}" for group in range(1, 8)]
_COMPRESSION_SIZES = 7
"""Of 18 sizes in each group: 1,000 messages of 16 bytes, 64, 256, 1 KiB, 4 KiB, 8 KiB and 16 KiB."""

BASIC = tuple(f"{group}.{number}" for group, count in _GROUPS.items() for number in range(1, count + 1))
COMPRESSION = tuple(
    f"{group}.{size}" for group in _COMPRESSION_GROUPS for size in range(1, _COMPRESSION_SIZES + 1)
)
ALL = BASIC + COMPRESSION

SAMPLE = (
    "1.1.1", "1.1.6", "1.1.8", "1.2.1", "1.2.8",
    "2.2", "2.5", "2.10", "2.11",
    "3.1", "3.3", "3.7",
    "4.1.1", "4.1.3", "4.2.2", "4.2.4",
    "5.1", "5.2", "5.3", "5.5", "5.7", "5.8", "5.11", "5.15", "5.18", "5.20",
    "6.1.3", "6.2.2", "6.2.3", "6.2.4", "6.3.1", "6.3.2", "6.4.1", "6.6.5", "6.12.3",
    "6.16.1", "6.20.7", "6.23.1",
    "7.1.1", "7.1.3", "7.1.4", "7.1.5", "7.3.1", "7.3.2", "7.3.3", "7.3.4", "7.3.5", "7.3.6",
    "7.5.1", "7.7.3", "7.7.13", "7.9.1", "7.9.9", "7.13.1", "10.1.1",
    "12.1.1", "12.3.2", "12.5.1", "13.2.1", "13.5.1",
)  # fmt: skip
"""A few of each kind: what every change is tested with."""

UNSTABLE = frozenset({"3.4", "4.1.5", "4.2.5"})
"""What these say flips from one direct run to the next, so they are run and counted but not compared."""
