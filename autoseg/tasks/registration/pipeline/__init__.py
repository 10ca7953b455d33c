"""Registration as commands: two images, labels of a folder onto new images, and the mean of a folder."""
