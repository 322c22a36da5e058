"""From what a user asks to the message of a run. No input or output happens here.

`asked` is what a user asks; `request` makes the message of it: of the input (`inputs`), of names
(`filters`, within `reach`), of changes (`hooks`, and ops as `interventions`), of `outputs`.
`placement` says where the parts of the answer will belong, `starting` begins a run at a layer, and
`uploads` take out what does not fit into one message. `hookwire.ops` belongs to this room.
"""
