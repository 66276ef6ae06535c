// Starts Swagger UI on the page /docs. It is a file because the page's security policy allows no inline script.
const place = document.getElementById("docs");
const token = document.querySelector('meta[name="csrf-token"]').content;

// Calls from "Try it out" use the login, unless a key was entered under "Authorize".
function useLogin(request) {
  if (new URL(request.url, location.href).origin === location.origin && !request.headers.Authorization) {
    request.headers["X-CSRFToken"] = token;
  }
  return request;
}

window.ui = SwaggerUIBundle({
  ...JSON.parse(place.dataset.config),
  url: place.dataset.document,
  dom_id: "#docs",
  requestInterceptor: useLogin,
});
