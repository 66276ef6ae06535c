"""Objects in a folder or bucket: one layer for reference images and for results."""
