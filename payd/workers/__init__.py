"""Background work: each worker takes what is due from the storage and has no memory that matters after a crash."""
