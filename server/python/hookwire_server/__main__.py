"""python -m hookwire_server: the command `hookwired`."""

from hookwire_server import main

main()
