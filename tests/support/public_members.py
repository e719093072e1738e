"""What users find in our classes."""


def members(kind: type) -> set[str]:
    """What a class of ours adds to pyee's emitter."""
    ours = [base for base in kind.__mro__ if base.__module__.startswith("wirewright.")]
    return {name for base in ours for name in vars(base) if not name.startswith("_")}
