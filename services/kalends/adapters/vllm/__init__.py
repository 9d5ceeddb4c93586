"""Models behind HTTP, as vLLM serves them: embeddings, reranking, chat."""
