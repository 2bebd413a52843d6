"""The job behind ``imbik compress``: make, export, measure, choose."""
