//! Looks once a second whether this node can do its work by itself: for the addresses and `/health`.

use std::{sync::Arc, time::Duration};

use highgate_config::{Config, NodeName};
use highgate_io::{clock, tasks::Stop};
use highgate_proxy::node::Node;
use tokio::sync::watch;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// A look that is so late says nothing: this whole process did not run.
const LATE: Duration = Duration::from_millis(500);

/// Looks until the stop; `fault` says what is wrong, in a few words.
///
/// Cancel safe: yes.
pub(crate) async fn watch(
    node: Arc<Node>,
    (config, name): (watch::Receiver<Arc<Config>>, NodeName),
    fault: watch::Sender<Option<String>>,
    stop: Stop,
) {
    let look = async {
        loop {
            let due = clock::now() + LOOK;
            clock::sleep_until(due).await;
            if clock::now() > due + LATE {
                continue;
            }
            let found = node.look().fault().or_else(|| idle(&config.borrow(), &name));
            fault.send_if_modified(|held| {
                let differs = *held != found;
                *held = found;
                differs
            });
        }
    };
    tokio::select! {
        biased;
        () = stop.stopped() => {}
        () = look => {}
    }
}

/// Says so where nobody is to be served: a node that has vips alone serves by them.
pub(crate) fn idle(config: &Config, name: &NodeName) -> Option<String> {
    let has_vips = config.node.get(name).is_some_and(|node| !node.vips.is_empty());
    let is_idle = config.shared.listeners.is_empty() && !has_vips;
    is_idle.then(|| "there is no listener and no vip".to_owned())
}

#[cfg(test)]
mod tests {
    use highgate_config::native;

    use super::*;

    #[test]
    fn a_node_without_listener_and_vip_does_not_serve() {
        let name = NodeName::from("n");
        let idle = |text: &str| idle(&native::parse("t", text, &name).unwrap().config, &name);
        assert!(idle("[[backend]]\nname = 'b'\n").is_some());
        assert_eq!(idle("[[listener]]\nname = 'l'\nbind = '*:1'\nbackend = 'b'\n"), None);
        let vip =
            "[[vip]]\nname = 'v'\nrouter_id = 1\ninterface = 'eth0'\naddresses = ['192.0.2.1']\n";
        assert_eq!(idle(vip), None);
    }
}
