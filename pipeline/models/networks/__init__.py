"""The networks: PSPNet and its backbones, in torch.

May import other modules of models and the floors below it, and knows no file and no job.
"""
