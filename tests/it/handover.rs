//! Ports that outlive runs: who gets them, where callers go while runs come and go, and that none of them notices.

mod load;
