"""A frozen model behind an address: asked over the network, never loaded."""

from triggers.model.endpoint.endpoint_loader import EndpointLoader

__all__ = ["EndpointLoader"]
