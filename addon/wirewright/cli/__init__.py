"""The command line: one module for each group of commands, the timeline, and the demo."""
