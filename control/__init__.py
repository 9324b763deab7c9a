"""The control plane: answers the engine's two questions and serves pages, health and figures."""
