"""Which shards a training draws its samples from, by which weights: values and changes of them."""
