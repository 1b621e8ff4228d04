"""The HTTP contract: routes, schemas, request parsing, problem details, the dashboard's page."""
