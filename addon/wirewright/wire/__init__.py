"""RFC 6455 and RFC 7692 without I/O: frames, compression, and one stream for each direction."""
