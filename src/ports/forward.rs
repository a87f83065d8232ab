//! Takes callers to the ready run.
