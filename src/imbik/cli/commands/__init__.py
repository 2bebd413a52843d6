"""The commands of the command line, one module each: ``register(app)`` adds it. Modules import their rooms when a command runs."""
