"""What becomes of the server's answer: tensors in place, functions called, and what is returned.

`assembly` fills arrays (`entries`, at the places of `layouts`) out of the events of a run; `run` is
a run between its request and its result; `visits` call functions; `output` is what a run returns
besides its cache; `plan` is the answer to a dry run; `progress` shows how far a result has come.
"""
