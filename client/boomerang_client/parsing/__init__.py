"""Parse the service's answers into records. Unknown fields are ignored; missing ones are an error."""
