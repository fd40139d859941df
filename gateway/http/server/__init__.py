"""HTTP/1.1 on `httptools`: connections, routes, and what a handler is given; knows no endpoint."""
