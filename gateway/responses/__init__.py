"""OpenAI's Responses API: conversations in items, stored for a while."""
