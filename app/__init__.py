"""The window: shows state and asks for work. No mathematics, no file formats."""
