"""Long stories from a seed: many orders, random nuisances, and the books looked at afterwards."""
