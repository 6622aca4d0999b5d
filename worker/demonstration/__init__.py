"""What `lettrage demo` plays: a whole installation on this machine, families who pay or don't, and who watches."""
