//! Every path against the portable one, and that against plain arithmetic.
