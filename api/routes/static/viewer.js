// Without a validator and without a stored key, the viewer speaks to nobody but this service.
SwaggerUIBundle({
  url: "/schema/openapi.json",
  dom_id: "#viewer",
  presets: [SwaggerUIBundle.presets.apis],
  deepLinking: true,
  displayOperationId: true,
  persistAuthorization: false,
  validatorUrl: null,
});
