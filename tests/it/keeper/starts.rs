//! How runs start, and why they do not.
