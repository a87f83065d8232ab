//! One file a verb: its flags, its help with an example, and what it does.

pub(crate) mod attach;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod credential_process;
pub(crate) mod creds;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod env;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod hold;
pub(crate) mod iam;
pub(crate) mod kill;
pub(crate) mod logs;
pub(crate) mod ls;
pub(crate) mod profile;
pub(crate) mod ps;
pub(crate) mod reload;
pub(crate) mod sandbox;
pub(crate) mod start;
pub(crate) mod unit;
pub(crate) mod up;
pub(crate) mod version;
pub(crate) mod wait;
pub(crate) mod whoami;
