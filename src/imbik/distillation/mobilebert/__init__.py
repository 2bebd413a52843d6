"""MobileBERT's transfer from an IB-BERT teacher, block by block."""
