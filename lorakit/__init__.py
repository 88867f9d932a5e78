"""What the training and the serving engine share: LoRA files, adapter algebra, row routing, samplers.

Nothing is imported here, so that the torch-free modules (file formats, metadata, prompt syntax) load
without torch or numpy.
"""
