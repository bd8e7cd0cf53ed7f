"""The one place that reads from and writes to AnnData: slots, matrices, labels, transactions."""
