"""The dashboard: a page that watches the service over its own REST interface, and decides rollouts with its token."""
