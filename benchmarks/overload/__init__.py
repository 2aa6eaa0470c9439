"""What becomes of answers when far more is asked for than the fleet can give."""
