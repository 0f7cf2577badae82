"""Models behind OpenAI-compatible servers: requests, replies, and a backend that asks them."""
