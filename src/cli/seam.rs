//! The parts of the house that verbs speak to, under one roof: what the command line uses of each module, and no more.

pub(crate) use crate::control::api;

pub(crate) mod control {
    pub(crate) use crate::control::attach::{Begun, Word, Words};
    pub(crate) use crate::control::{
        Attachment, Client, Found, Kind as Ownership, Launched, Lines, Start, become_system, launch, list, list_system,
        state_folder,
    };
}

pub(crate) mod manifest {
    pub(crate) use crate::manifest::{Colour, Loaded, Source, Trust, find, load, print, schema};
}

pub(crate) mod aws {
    pub(crate) use crate::aws::{Whoami, whoami};
}

pub(crate) mod show {
    pub(crate) use crate::logs::show::{Format, Printer, Style, entry};
}
