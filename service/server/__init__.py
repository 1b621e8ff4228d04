"""The HTTP server around the app: listener, protocol, middleware, and the fast path of predict.

Import its modules directly: the supervisor needs the listener without the rest, which imports torch.
"""
