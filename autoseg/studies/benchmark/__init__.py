"""Published challenges: what they are, whether a folder is one of them, and how it becomes a data set of this project.

`catalogue.load(name)` gives a `Specification`; `verify.verify(specification, data)` says what differs between it and a
folder, `convert.convert(specification, data, out)` makes a data set of the folder.
"""
