//! highgate-cluster.
