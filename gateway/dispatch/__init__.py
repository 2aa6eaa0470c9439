"""A job to an instance and its end: where it goes, what becomes of it there, and where it goes on when that fails.

`Dispatcher` gives an instance (a `Dispatch`), `Attempts` says who is asked next, `Generation` is an answer's token ids from as
many instances as it takes, `HedgedCalls` are the short calls before it, `StreamRegistry` moves streams off instances that leave.
"""
