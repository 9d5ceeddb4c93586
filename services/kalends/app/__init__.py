"""Composition: which adapter fills which port, which services a process hosts, and the command line."""
