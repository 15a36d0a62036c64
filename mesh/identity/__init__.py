"""Who is who: SPIFFE ids, the authority that signs them, and the files that hold it."""
