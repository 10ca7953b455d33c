"""From the folders of several raters to numbers and a consensus."""
