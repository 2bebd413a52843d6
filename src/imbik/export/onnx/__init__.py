"""ONNX graphs: traced, fused, lowered to integers, packed."""
