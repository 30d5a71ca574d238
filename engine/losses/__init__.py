"""What registration minimises: dissimilarity of images and roughness of displacements."""
