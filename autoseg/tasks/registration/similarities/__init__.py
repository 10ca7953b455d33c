"""How unlike two images are, as losses that a registration lowers: one file a family.

A plug-in of kind `similarity` is a factory: its keyword arguments are options, and it returns a
`protocol.Similarity`. Intensities are expected on the scale 0..1 of `registration.pair.prepare`.
"""
