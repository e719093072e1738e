"""The command line: the commands, what each does, the timeline, and the demo."""
