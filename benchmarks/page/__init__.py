"""`make bench`: the figures of all benchmarks, made anew one after the other, on one page."""
