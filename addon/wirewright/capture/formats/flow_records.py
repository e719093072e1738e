"""The records of a flow file of unknown origin, checked before mitmproxy parses them.

A record is a netstring with a type: `<size>:<data><type>`. Lists and dictionaries hold further ones.
https://tnetstrings.info
"""

DEEPEST = 100
"""The nesting of a flow is less deep than this."""
MOST_VALUES = 5_000_000
"""Values in one flow: more than 700,000 messages. An empty one takes 72 bytes of memory and 3 of the file."""
LONGEST_NUMBER = 64
"""Characters of the longest number that is converted."""

LENGTH_DIGITS = 12
"""The most digits of a size that mitmproxy reads."""
_CONTAINERS = b"]}"
_NUMBERS = b"#^"


def check_record(record: bytearray) -> None:
    """Check that a record can be parsed in linear time and memory.

    Raises ValueError for a size that is not a decimal number or that leads out of its container, and for more
    values, deeper nesting or longer numbers than the limits. mitmproxy's parser takes a negative size, too,
    and then parses the same data twice for each level of nesting.
    """
    at, ends, values = 0, [len(record)], 0
    while ends:
        if at == ends[-1]:
            ends.pop()
            at += 1  # behind the type of the container
            continue
        colon = record.find(b":", at, at + LENGTH_DIGITS + 1)
        digits = bytes(record[at:colon]) if colon > at else b""
        if not digits.isdigit():
            raise ValueError("the size of a value is not a number")
        start, size = colon + 1, int(digits)
        end = start + size
        if end >= ends[-1]:
            raise ValueError("a value does not end in its container")
        values += 1
        if values > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")
        if record[end] in _NUMBERS and size > LONGEST_NUMBER:
            raise ValueError("a number is too long")
        if record[end] in _CONTAINERS:
            if len(ends) > DEEPEST:
                raise ValueError(f"nested more than {DEEPEST} deep")
            ends.append(end)
            at = start
        else:
            at = end + 1
