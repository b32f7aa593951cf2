//! What operators see of the data path: one table per file, declared once for SQL, web, metrics
//! and `ctl`.

mod backends;
mod digests;
mod events;
mod listeners;
mod rules;
mod servers;
mod sessions;
mod workers;

use std::{collections::BTreeMap, sync::Arc};

use highgate_config::{
    ListenerName, NodeName,
    table::{Column, Kind, Metric, Table},
};
use parking_lot::Mutex;

use crate::{monitor::View, node::Running, shared::Shared};

/// All tables of the data path.
pub(crate) fn all(
    shared: &Arc<Shared>,
    view: &Arc<Mutex<View>>,
    listeners: &Arc<Mutex<BTreeMap<ListenerName, Running>>>,
    node: NodeName,
) -> Vec<Arc<dyn Table>> {
    vec![
        Arc::new(backends::Backends { shared: shared.clone(), view: view.clone() }),
        Arc::new(digests::Digests { shared: shared.clone() }),
        Arc::new(events::Events { shared: shared.clone() }),
        Arc::new(listeners::Listeners { listeners: listeners.clone() }),
        Arc::new(rules::Rules { shared: shared.clone() }),
        Arc::new(servers::Servers { shared: shared.clone(), view: view.clone() }),
        Arc::new(sessions::Sessions { shared: shared.clone() }),
        Arc::new(workers::Workers { shared: shared.clone(), node }),
    ]
}

/// A column, in the words of its declaration.
const fn column(name: &'static str, kind: Kind, metric: Metric, doc: &'static str) -> Column {
    Column { name, kind, metric, doc }
}
