"""One module per command; each has ``main(arguments) -> exit code`` and imports what it needs, not more."""
