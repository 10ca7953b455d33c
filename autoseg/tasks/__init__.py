"""What the loop can train. A task is a guest of the framework: it reaches in through plug-ins, nothing imports it."""
