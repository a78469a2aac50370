"""Which modules locked wheels bring: read off the wheels, the store's layers, or a cache's listings. Judges nothing."""
