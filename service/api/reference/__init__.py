"""The reference of the REST interface at /docs: Swagger UI from an installed package, else a page without scripts."""
