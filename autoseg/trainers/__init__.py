"""Tasks that the training loop can train, as plug-ins of kind "trainer". They know no loop."""
