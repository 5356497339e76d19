"""Styles: how one and the same drawing looks as a photograph, a painting, a cartoon or a sketch."""
