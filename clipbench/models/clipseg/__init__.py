"""CLIPSeg through Hugging Face transformers (``pip install 'clipbench[segmentation]'``): CLIP-DoRA sec. 4.4.

``configs`` names the models without importing PyTorch; ``load``, ``network``, ``prompts`` and ``training`` need it.
"""
