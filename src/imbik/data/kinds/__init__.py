"""What the rows of a task hold: texts or images, and how each kind is found, read and compared."""
