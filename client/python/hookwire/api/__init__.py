"""The model that users have: `asynchronous` is written by hand, `blocking` is generated from it.

`session` is what both have in common, `standing` the hooks that stay from run to run.
"""
