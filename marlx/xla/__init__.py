"""How programs are compiled and laid out on devices."""
