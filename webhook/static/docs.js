// What the page /docs starts with; in a file of its own, so that the page needs no script of its own inside.
const place = document.getElementById("docs");
window.ui = SwaggerUIBundle({ ...JSON.parse(place.dataset.config), url: place.dataset.document, dom_id: "#docs" });
