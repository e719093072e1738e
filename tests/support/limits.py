"""The one time limit of whatever a test waits for."""

STEP_SECONDS = 120.0
"""How long a step may take before its test fails. No load of a machine uses it up: a step takes milliseconds,
or a second where a program starts. The limit of a whole test, in pyproject.toml, is longer."""
STEP_MILLISECONDS = 1000 * STEP_SECONDS
