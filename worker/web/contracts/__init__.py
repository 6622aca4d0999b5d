"""The API's contracts as documents, made from the code: OpenAPI, AsyncAPI, JSON Schemas and a page to read."""
