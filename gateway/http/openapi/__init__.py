"""The API told of by its own types: `/openapi.json`, `/docs` and docs/api.md."""
