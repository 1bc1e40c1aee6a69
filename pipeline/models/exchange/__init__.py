"""Networks in ONNX files: read, computed, and written. The room of ONNX and of ONNX Runtime, an extra.

May import networks, cards and stored models; nothing of inference, importing, io or jobs.
"""
