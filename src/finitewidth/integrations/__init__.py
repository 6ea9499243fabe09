"""Other people's conventions: what the theory predicts, in the shape that other packages expect."""
