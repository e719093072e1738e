"""What a user types: the arguments and options of each command.

A command imports its work from `cli/` when it runs, so that every command starts fast.
"""
