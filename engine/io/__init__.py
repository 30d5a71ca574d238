"""Reading and writing of files. Each module is imported by name; this package imports nothing."""
