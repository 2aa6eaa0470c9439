"""What `ragfleet assistant eval` asks: questions with gold SQL, hostile prompts, dialogues, texts. The company is fictional."""
