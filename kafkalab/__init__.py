"""The site: Django around the engine. Each folder is one slice, from its models to its urls."""

__version__ = "0.1.0"
