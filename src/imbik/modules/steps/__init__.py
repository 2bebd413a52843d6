"""The steps that ``imbik.compress_module`` takes."""
