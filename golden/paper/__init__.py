"""The operators of BrainTransformers (arXiv 2410.14687) as released, to compare ours with."""
