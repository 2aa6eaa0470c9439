"""How much of OpenAI's published description this API keeps, property by property."""
