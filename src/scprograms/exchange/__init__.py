"""Exchange with other tools: programs of cNMF, PerturbNMF and starCAT, MuData, 10x, gene identifiers."""
