//! The supervisor's behaviour as stories: given services, at some instant, a fact; then exactly these effects.

mod dependencies;
mod external;
mod files;
mod interleavings;
mod leases;
mod policy;
mod ports;
mod readiness;
mod stage;
