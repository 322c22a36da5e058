"""The tokenizer: its files, what text becomes, and what Hugging Face's tokenizers answer.

`tokenizer.Tokenizer`, which users have, puts TransformerLens's methods on top. Nothing here
speaks to a server.
"""
