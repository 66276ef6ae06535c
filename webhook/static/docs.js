// Starts Swagger UI on the page /docs. It is a file because the page's security policy allows no inline script.
const place = document.getElementById("docs");
const token = document.querySelector('meta[name="csrf-token"]').content;
const LINES = "application/x-ndjson";
const TEXT = "text/plain";

// Swagger UI takes every type with "json" in its name for JSON: it would show lines of JSON as one quoted string.
function showLinesAsText(spec) {
  for (const operation of Object.values(spec.paths).flatMap(Object.values)) {
    const content = operation.requestBody?.content ?? {};
    if (LINES in content) {
      content[TEXT] = content[LINES];
      delete content[LINES];
    }
  }
  return spec;
}

// Calls from "Try it out" use the login, unless a key was entered under "Authorize".
function prepare(request) {
  if (!request.headers.Authorization) request.headers["X-CSRFToken"] = token;
  if (request.headers["Content-Type"] === TEXT) request.headers["Content-Type"] = LINES;
  return request;
}

fetch(place.dataset.document)
  .then((answer) => answer.json())
  .then((spec) => {
    window.ui = SwaggerUIBundle({
      ...JSON.parse(place.dataset.config),
      spec: showLinesAsText(spec),
      dom_id: "#docs",
      requestInterceptor: prepare,
    });
  });
