"""A version or engine tried on part of the traffic, judged by what it does, and then promoted or rolled back by itself.

Pure but for `sync`: no I/O, and time and chance are arguments.
"""
