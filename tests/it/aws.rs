//! `devsup::aws` against a scripted STS on loopback: what is asked, what is made of each answer, how long it takes.

mod answers;
mod base;
mod chains;
mod examine;
mod leases;
mod story;
mod whoami;
