"""Remote control, seen from who asks: which commands there are, how they are said and answered."""
