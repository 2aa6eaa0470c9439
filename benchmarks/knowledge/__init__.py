"""What bringing documents in costs, and what it costs those who ask meanwhile."""
