"""The tokenizer: its files, what text becomes, and what Hugging Face's tokenizers answer.

`hookwire.tokens.Tokenizer`, which users have, puts TransformerLens's methods on top. Nothing here
speaks to a server.
"""
