//! `[services.NAME.ports]` and `replace`.

use schemars::JsonSchema;

#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum PortOrListen {
    Listen(String),
    Port(Port),
}

/// Where callers come to, and what becomes of them while the run is replaced.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Port {
    /// `127.0.0.1:8001`, `[::1]:8001`, `localhost:8001`, `127.0.0.1:auto` for a free one, or the path of a unix socket.
    listen: String,
    /// `none`: callers are refused meanwhile. `socket`: devsup holds the socket and passes it (LISTEN_FDS). `forward`:
    /// devsup listens, and forwards to the run's own `$PORT`.
    #[schemars(extend("default" = "none"))]
    handover: Option<Handover>,
    /// Of `forward`: how long a caller waits while no run is ready. 100ms to 10m.
    #[schemars(extend("default" = "10s"))]
    wait: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Handover {
    None,
    Socket,
    Forward,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum Replace {
    Restart,
    Overlap,
}
