"""The training loop and what it needs: settings, encoding, losses, state, the teacher's cached answers."""
