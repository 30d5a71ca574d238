"""The three steps as jobs: align, general, image-specific (ISO) and region-specific (RSO) optimisation."""
