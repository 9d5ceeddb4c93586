"""Benchmarks of a whole instance through HTTP: `make bench`, or `python -m tests.bench --help` for parts of it.

Belongs here: load, measuring and reporting. Does not belong here: assertions; a figure is no test. A newcomer would get wrong: the load
comes from a process of its own that shares the machine's cores with the instance, so what it costs is measured and printed too.
"""
