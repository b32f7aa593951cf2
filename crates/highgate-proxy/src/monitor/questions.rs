//! What monitors ask servers, and how the answers become an [`Observation`].

use std::time::Instant;

use highgate_config::Topology;
use highgate_core::topology::{Galera, IoThread, Observation, Source};
use highgate_mysql::sql::Flavor;

use crate::mysql::ask::{Answered, AskError, Asker};

/// Reads all that the roles of a topology are judged by.
pub(crate) async fn observe(
    asker: &mut Asker,
    topology: Topology,
    flavor: Flavor,
    deadline: Instant,
) -> Result<Option<Observation>, AskError> {
    match topology {
        Topology::Static => Ok(None),
        Topology::MariadbReplication => replication(asker, flavor, deadline).await.map(Some),
        Topology::Galera => galera(asker, deadline).await.map(Some),
    }
}

async fn replication(
    asker: &mut Asker,
    flavor: Flavor,
    deadline: Instant,
) -> Result<Observation, AskError> {
    let is_mariadb = flavor == Flavor::MariaDb;
    let variables = if is_mariadb {
        "SELECT @@global.read_only, @@global.server_id, @@global.gtid_current_pos, NULL"
    } else {
        "SELECT @@global.read_only | @@global.super_read_only, @@global.server_id, \
         @@global.gtid_executed, @@global.server_uuid"
    };
    let mut seen = variables_of(&asker.query(variables, deadline).await?);
    let replicas = if is_mariadb { "SHOW ALL SLAVES STATUS" } else { "SHOW REPLICA STATUS" };
    let status = match asker.query(replicas, deadline).await {
        // Before MySQL 8.0.22 the statement has its old name.
        Err(AskError::Server { code: 1064, .. }) => {
            asker.query("SHOW SLAVE STATUS", deadline).await?
        }
        other => other?,
    };
    seen.sources = (0..status.rows.len()).map(|row| source(&status, row)).collect();
    Ok(seen)
}

fn variables_of(answered: &Answered) -> Observation {
    let field = |at: usize| answered.rows.first().and_then(|row| row.get(at)?.as_deref());
    Observation {
        at: highgate_io::clock::now(),
        // Unknown means read-only: nothing is written to a server that could not say it is writable.
        read_only: field(0) != Some("0"),
        server_id: field(1).and_then(|id| id.parse().ok()).unwrap_or(0),
        uuid: field(3).map(str::to_owned),
        // MySQL breaks the line after each server's part of a set.
        gtid: field(2).unwrap_or_default().replace('\n', ""),
        sources: Vec::new(),
        galera: None,
    }
}

fn source(status: &Answered, row: usize) -> Source {
    let either = |new: &str, old: &str| status.get(row, new).or_else(|| status.get(row, old));
    let io = match either("Replica_IO_Running", "Slave_IO_Running") {
        Some("Yes") => IoThread::Running,
        Some("Connecting" | "Preparing") => IoThread::Connecting,
        _ => IoThread::Stopped,
    };
    let error = [("Last_SQL_Error", "Last_SQL_Error"), ("Last_IO_Error", "Last_IO_Error")]
        .into_iter()
        .find_map(|(new, old)| either(new, old).filter(|text| !text.is_empty()));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    let lag = either("Seconds_Behind_Source", "Seconds_Behind_Master");
    let server_id = number(either("Source_Server_Id", "Master_Server_Id"));
    let port = number(either("Source_Port", "Master_Port"));
    Source {
        name: either("Channel_Name", "Connection_name").unwrap_or_default().to_owned(),
        host: either("Source_Host", "Master_Host").unwrap_or_default().to_owned(),
        port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
        server_id: server_id.and_then(|id| u32::try_from(id).ok()).unwrap_or(0),
        io,
        sql_running: either("Replica_SQL_Running", "Slave_SQL_Running") == Some("Yes"),
        seconds_behind: number(lag),
        error: error.map(|error| without_statement(error).to_owned()),
    }
}

/// What went wrong, without the statement that it happened to: that has literals in it, and what is told
/// of a server is read by more people than its data.
fn without_statement(error: &str) -> &str {
    let before = error.split_once(" Query: '").map_or(error, |(before, _)| before);
    before.trim_end()
}

async fn galera(asker: &mut Asker, deadline: Instant) -> Result<Observation, AskError> {
    let variables =
        "SELECT @@global.read_only, @@global.server_id, @@global.gtid_current_pos, NULL";
    let mut seen = match asker.query(variables, deadline).await {
        Err(AskError::Server { code: 1193, .. }) => {
            let without = "SELECT @@global.read_only, @@global.server_id, '', NULL";
            variables_of(&asker.query(without, deadline).await?)
        }
        other => variables_of(&other?),
    };
    let status = asker.query("SHOW GLOBAL STATUS LIKE 'wsrep\\_%'", deadline).await?;
    let settings = asker.query("SHOW GLOBAL VARIABLES LIKE 'wsrep\\_%'", deadline).await?;
    let named = |answered: &Answered, name: &str| {
        answered.rows.iter().find_map(|row| match row.as_slice() {
            [Some(key), value, ..] if key.eq_ignore_ascii_case(name) => value.clone(),
            _ => None,
        })
    };
    let number = |name: &str| named(&status, name).and_then(|text| text.parse().ok()).unwrap_or(0);
    let is_on = |answered: &Answered, name: &str| {
        named(answered, name).is_some_and(|value| value.eq_ignore_ascii_case("on") || value == "1")
    };
    seen.galera = Some(Galera {
        primary_component: named(&status, "wsrep_cluster_status").as_deref() == Some("Primary"),
        local_state: number("wsrep_local_state"),
        ready: is_on(&status, "wsrep_ready"),
        rejects_queries: named(&settings, "wsrep_reject_queries")
            .is_some_and(|value| !value.eq_ignore_ascii_case("none")),
        desynced: is_on(&settings, "wsrep_desync"),
        donor_rejects_queries: is_on(&settings, "wsrep_sst_donor_rejects_queries"),
        cluster_uuid: named(&status, "wsrep_cluster_state_uuid").unwrap_or_default(),
        cluster_size: number("wsrep_cluster_size"),
        local_index: number("wsrep_local_index"),
        recv_queue: number("wsrep_local_recv_queue"),
    });
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::without_statement;

    #[test]
    fn an_error_of_replication_is_told_without_the_statement_and_its_literals() {
        let error = "Error 'Table 'shop.t' doesn't exist' on query. Default database: 'shop'. \
                     Query: 'INSERT INTO t(card) VALUES ('4111 1111')'";
        let told = without_statement(error);
        assert_eq!(
            told,
            "Error 'Table 'shop.t' doesn't exist' on query. Default database: 'shop'."
        );
        assert_eq!(without_statement("error connecting to master"), "error connecting to master");
    }
}
