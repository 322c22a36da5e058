"""What the Tab key offers in a shell, without importing the package.

`__main__` is run by its path, so that NumPy and the rest need not be loaded while somebody waits.
It completes from `commands`, which is generated from the real commands, and asks a server for its
hook points with nothing but gRPC. `names` says which of these a word may become.
"""
