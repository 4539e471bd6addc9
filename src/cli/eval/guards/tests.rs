//! The counting.
