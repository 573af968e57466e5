"""What workers and clients tell while they work, and what monitors make of it."""
