"""Calls, grouped by what they are about. Each group has one implementation: the asynchronous one."""
