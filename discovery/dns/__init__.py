"""What the domain name system says: SRV and address records, and the resolver that other sources use for host names."""
