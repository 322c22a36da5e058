"""The asynchronous model. `model` and `streams` are written by hand, `calls` is generated.

The room `blocking` is generated from this one: `python client/python/generate_models.py`. There,
`await` and `async` are gone, and so is each statement that ends its first line with
`# asynchronous only`; a line `# blocking: CODE` becomes CODE.
"""
