"""The HTTP server around the app: listener, protocol, middleware, and the fast path of predict.

Import its modules: the supervisor needs the listener alone, and not the rest, which brings torch.
"""
