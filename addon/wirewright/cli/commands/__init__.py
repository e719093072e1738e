"""The arguments and options of each command, as a user types them.

A command imports its work from `cli/` when it runs, so that every command starts fast.
"""
