/* The API's description, to read and to try. What is described is what this server answers to. */

window.SwaggerUIBundle({
  url: document.getElementById('docs').dataset.url,
  dom_id: '#docs',
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  validatorUrl: null,
  presets: [window.SwaggerUIBundle.presets.apis],
  layout: 'BaseLayout',
});
