"""A .beton file to batches: order, DALI's pipeline, feeding, quarantine."""
