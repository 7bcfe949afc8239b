"""The checkpoint store: manifests, packs of tensors, export. Only `tensors` may know torch."""
