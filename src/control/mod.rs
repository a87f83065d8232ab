//! The control socket's words: HTTP/1.1 with JSON over a unix socket. [`api`] are the shapes both sides speak.

pub mod api;
