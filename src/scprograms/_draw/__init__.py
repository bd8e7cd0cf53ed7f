"""The figure toolkit: layout, palette, dots, boxes, pixels."""
