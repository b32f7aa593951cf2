//! `highgate ctl` and `highgate apply`: talks to the running process by its socket.

use std::path::{Path, PathBuf};

use anyhow::Context;
use highgate_admin::ctl;

use crate::{
    admin_side,
    cli::{self, CtlCommand, VipCommand},
    files, output,
};

pub(crate) fn ctl(arguments: &cli::Ctl) -> anyhow::Result<()> {
    let socket = admin_side::socket_path(&arguments.data_dir);
    let act = |table: &str, action: &str, arguments: &[&str]| {
        ctl::act(&socket, table, action, arguments)
            .map_err(told)
            .and_then(|text| output::say(&text))
    };
    match &arguments.command {
        CtlCommand::Status => status(&socket),
        CtlCommand::Show { table: None, .. } => {
            let path = format!("/api/v1/tables?format=text&width={}", output::table_width());
            output::say(&get(&socket, &path)?)
        }
        CtlCommand::Show { table: Some(table), filter, limit, format } => {
            let filter = filter.as_deref().unwrap_or_default();
            let limit = limit.map_or_else(String::new, |limit| format!("&limit={limit}"));
            let wish = format!("format={format}&filter={}{limit}", ctl::escape(filter));
            output::say(&table_of(&socket, table, &wish)?)
        }
        CtlCommand::Events { last } => {
            let columns = "time,severity,kind,backend,server,text";
            let wish = format!("format=text&tail={last}&columns={columns}");
            output::say(&table_of(&socket, "events", &wish)?)
        }
        CtlCommand::Vip { action: None } => vip(&socket),
        CtlCommand::Vip { action: Some(VipCommand::Drain { vip, why }) } => {
            let vip = vip.as_deref().unwrap_or("*");
            act("vips", "drain", &[vip, why.as_deref().unwrap_or_default()])
        }
        CtlCommand::Vip { action: Some(VipCommand::Enable { vip }) } => {
            act("vips", "enable", &[vip.as_deref().unwrap_or("*")])
        }
        CtlCommand::Drain { server } => act("servers", "drain", &[server]),
        CtlCommand::Maintenance { server } => act("servers", "maintenance", &[server]),
        CtlCommand::Enable { server } => act("servers", "enable", &[server]),
        CtlCommand::Weight { server, weight } => {
            act("servers", "weight", &[server, &weight.to_string()])
        }
        CtlCommand::ForgetPrimary { backend } => act("backends", "forget_primary", &[backend]),
        CtlCommand::Kill { session, query } => {
            let action = if *query { "kill_query" } else { "kill" };
            act("sessions", action, &[&session.to_string()])
        }
        CtlCommand::Explain(question) => ask(&socket, question),
        CtlCommand::Act { table, action, arguments } => {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            act(table, action, &arguments)
        }
    }
}

/// Asks the running process where a statement would go.
pub(crate) fn ask(socket: &Path, question: &cli::Question) -> anyhow::Result<()> {
    let text = |given: &Option<String>| given.clone().unwrap_or_default();
    let mut arguments = vec![question.sql.clone(), text(&question.user), text(&question.listener)];
    // A process of an older version takes no more than these.
    if question.schema.is_some() || question.client.is_some() {
        let client = question.client.map(|address| address.to_string());
        arguments.extend([text(&question.schema), text(&client)]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    output::say(&ctl::act(socket, "rules", "explain", &arguments).map_err(told)?)
}

/// What is asked first: of each table the columns that tell whether all is well, and why not.
const STATUS: [(&str, &str); 4] = [
    ("node", "name,version,pid,uptime_seconds,config_version,clients,draining"),
    ("listeners", "name,mode,address,backend,clients,refused,login_failures,refused_commands"),
    ("backends", "name,primary,writes,readers,serving,servers,reason"),
    ("servers", "backend,name,address,role,status,lag_ms,commands,reason"),
];

fn status(socket: &Path) -> anyhow::Result<()> {
    tables(socket, &STATUS)
}

fn tables(socket: &Path, wanted: &[(&str, &str)]) -> anyhow::Result<()> {
    for (position, (table, columns)) in wanted.iter().enumerate() {
        let gap = if position == 0 { "" } else { "\n" };
        let rows = table_of(socket, table, &format!("format=text&columns={columns}"))?;
        output::say(&format!("{gap}{table}\n{rows}"))?;
    }
    Ok(())
}

/// What is asked of addresses that move.
const VIPS: [(&str, &str); 2] = [
    ("vips", "name,state,seconds,addresses,active_node,effective_priority,why,missing,refused_for"),
    ("vip_peers", "vip,address,heard_ms,priority,interval_ms,adverts,refused,last_refusal"),
];

fn vip(socket: &Path) -> anyhow::Result<()> {
    tables(socket, &VIPS)
}

/// One table, with wishes as in the query of a URL.
fn table_of(socket: &Path, table: &str, wishes: &str) -> anyhow::Result<String> {
    let (table, width) = (ctl::escape(table), output::table_width());
    get(socket, &format!("/api/v1/tables/{table}?width={width}&{wishes}"))
}

fn get(socket: &Path, path: &str) -> anyhow::Result<String> {
    let text = ctl::get(socket, path).map_err(told)?;
    Ok(text.trim_end().to_owned())
}

/// In its own words, which say what the system said.
pub(crate) fn told(error: ctl::CtlError) -> anyhow::Error {
    anyhow::Error::msg(error.to_string())
}

/// Applies files in the running process.
pub(crate) fn apply(arguments: &cli::Apply) -> anyhow::Result<()> {
    let data_dir = arguments
        .data_dir
        .clone()
        .unwrap_or_else(|| files::default_data_dir(arguments.files.first()));
    files::regular(&arguments.files)?;
    let whole = |file: &PathBuf| {
        // Links stay: the process may run with them, or have applied them when they led elsewhere.
        files::absolute(file)
            .into_os_string()
            .into_string()
            .ok()
            .context("the file's path is not UTF-8")
    };
    let files: Vec<String> = arguments.files.iter().map(whole).collect::<Result<_, _>>()?;
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let socket = admin_side::socket_path(&data_dir);
    let action = if arguments.dry_run { "compare" } else { "apply" };
    output::say(&ctl::act(&socket, "node", action, &files).map_err(told)?)
}
