//! highgate-proxy.
