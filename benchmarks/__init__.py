"""What this project claims, each claim with the command that shows it."""
