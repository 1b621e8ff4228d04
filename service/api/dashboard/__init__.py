"""The dashboard: a page that shows the service through its REST API, and changes rollouts with the admin token."""
