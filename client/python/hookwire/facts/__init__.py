"""What names and numbers mean: hook points, layers, element types, indices, token ids.

`config` is what a server says of its model and of itself, `catalogue` its hook points, `names`
TransformerLens's short ones; `dtypes`, `selection`, `ids` and `characters` read what users write;
`not_here` is the names of TransformerLens that Hookwire lacks, with the reasons.
"""
