"""Other people's frameworks, unmodified, against the embedded fleet with its real model."""
