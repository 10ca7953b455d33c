"""Methods to compare a trained model against, from an empty prediction to other tools, behind one protocol.

A baseline is a plug-in of kind "baseline": a function that takes a `BaselineContext`, learns from the training cases of
a fold and returns something that predicts a case (`protocol`). None sees a validation case before it predicts it.
"""
