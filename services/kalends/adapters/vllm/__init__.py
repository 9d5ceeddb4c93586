"""Models behind OpenAI's API: vLLM first, and whatever else speaks it."""
