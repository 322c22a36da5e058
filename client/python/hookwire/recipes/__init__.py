"""Experiments of several runs, which users and the command share."""
