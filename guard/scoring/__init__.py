"""The harm score: text of a proposed action in, probability of harm and its label out.

Nothing is imported here. `values` and `canonical` are pure; `onnx` is the only file that knows onnxruntime, `card` the only one
that reads a model's card, and `judge` the process that keeps both away from whoever must stay quick.
"""
