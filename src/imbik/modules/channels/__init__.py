"""The channels of a network: which belong together, how important they are, and layers with fewer of them."""
