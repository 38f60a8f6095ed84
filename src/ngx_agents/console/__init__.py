"""The web pages: static files and the small ASGI application that serves them."""
