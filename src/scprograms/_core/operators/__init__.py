"""Operators: the few products through which the engines see a matrix, whatever holds it."""
