"""What any long job needs: a locked work folder, files replaced whole, fingerprints, seeds, progress."""
