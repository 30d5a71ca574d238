"""The columns beside and below the images."""
