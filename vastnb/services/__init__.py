"""What a data scientist does with the market: search, compare, rent, watch. Functions return values and print nothing."""
