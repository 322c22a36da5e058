"""`python -m hookwire` is the command `hookwire`."""

from hookwire.cli import main

if __name__ == "__main__":
    main()
