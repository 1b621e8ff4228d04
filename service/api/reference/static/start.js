// Swagger UI over the service's own description; nothing is validated by, or asked of, another machine.

SwaggerUIBundle({ url: "openapi.json", dom_id: "#reference", deepLinking: true, showExtensions: true, validatorUrl: null });
