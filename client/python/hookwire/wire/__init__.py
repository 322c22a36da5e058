"""Calls over gRPC: `blocking` and `asynchronous` are the same calls, and wait differently.

`rpc` has what both share, `decode` reads what comes often, `parameters` joins the pieces of a
weight, `shared_memory` is the short way from a server on the same host, and `peer` and `status` say
what has gone wrong. A method that the service gains goes into `rpc` and both connections.
"""
