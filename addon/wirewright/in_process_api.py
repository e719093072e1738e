"""The names of the package: the proxy of this process, and the classes of the async API.

`wirewright` imports this module when one of its names is used for the first time.
"""

from wirewright.launcher import launch as launch
from wirewright.model import public_names
from wirewright.model.assertions import expect as expect
from wirewright.model.public_names import *  # noqa: F403
from wirewright.state import proxy as proxy

__all__ = []
__all__ += public_names.__all__
__all__ += ["expect", "launch", "proxy"]
