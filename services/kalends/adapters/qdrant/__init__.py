"""Vectors on a Qdrant server; the only modules that import qdrant-client.

A newcomer would get wrong: importing any module of this package imports the client, which takes a second; whoever may do without it (the
command line, a laptop) imports the package where it is opened.
"""
