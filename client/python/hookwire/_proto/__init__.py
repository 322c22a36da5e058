"""Modules generated from proto/hookwire/v1 by client/python/generate.py; not to be edited."""
