"""What holds for every operation, whatever it does: who may, and what is refused. A new operation without a row here fails."""
