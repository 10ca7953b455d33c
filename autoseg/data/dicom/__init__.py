"""DICOM images, read as frames by pydicom: grouped into volumes, sorted by position, rescaled frame by frame.

The files of a source (`storage`) have headers (`headers`) and frames (`frames`), which are grouped (`volumes`), put in
order (`stack`), decoded (`pixels`) and turned to values (`values`).
"""
