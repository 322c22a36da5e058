"""The model that users have: its calls, each written once, and what both kinds have in common.

`calls` are the calls: arguments, run, result; `preparing` makes a run of one. `asynchronous` is
written by hand, and `blocking` is generated from it. `session` is what a connected model holds,
`attributes` what it has because TransformerLens's has it, `standing` its hooks that stay from run
to run, `wishes` what `connect` was asked for. `lens` are the runs of `logit_lens`, and `steps` how
several runs are gone over; `mapping` which prompts of a `map` share a run. `active` are standing
hooks as users see them; `daemon` starts and ends a server; `saved` reads caches.
"""
