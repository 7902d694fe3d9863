"""The command line: it parses, calls one function of a part, and prints."""
