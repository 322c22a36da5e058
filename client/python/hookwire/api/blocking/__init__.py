"""The blocking model, generated from the room `asynchronous`."""
