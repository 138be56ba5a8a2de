"""NIR files: read without the library that writes them."""
