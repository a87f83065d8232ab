//! Daily use of the real binary, with the sandbox as AWS: what a person types, sees and relies on.

mod story;
