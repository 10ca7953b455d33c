"""What self-supervised methods lower: functions of embeddings, logits or images, each with its source and equation.

Sums and logarithms are worked out in float32 where the network computes in half precision, and in the tensors' own
dtype otherwise; every loss is a scalar.
"""
