//! `highgate init`: a first configuration, with the statements that the databases need for it.
//!
//! Passwords are made here, so that none is on a command line or the same everywhere.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt};

use anyhow::Context;
use highgate_config::{NodeName, native};
use highgate_io::entropy;

use crate::{cli, output};

pub(crate) fn init(arguments: &cli::Init) -> anyhow::Result<()> {
    let file = arguments.file.display().to_string();
    let text = text(arguments, &password()?, &password()?);
    // What is written can be read: a mistake in an argument is told before there is a file.
    let parsed = native::parse(&file, &text, &NodeName::from("main"));
    let parsed = parsed.map_err(|problems| {
        anyhow::anyhow!("these arguments make no configuration; nothing is written\n{problems}")
    })?;
    for warning in &parsed.warnings {
        output::complain(&warning.to_string());
    }
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&arguments.file);
    let mut opened = opened.with_context(|| format!("cannot write {file}"))?;
    opened.write_all(text.as_bytes()).with_context(|| format!("cannot write {file}"))?;
    output::say(&format!(
        "{file} is written; only this account can read it. Next:\n\
         1. run the statements at its top on the primary (or change its passwords to yours)\n\
         2. highgate check {file}\n\
         3. highgate run {file}\n\
         4. highgate ctl status"
    ))
}

/// 24 characters that need no quoting anywhere.
fn password() -> anyhow::Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 24];
    entropy::fill(&mut bytes).context("cannot make a password")?;
    let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied().unwrap_or(b'a');
    Ok(bytes.iter().map(|byte| char::from(letter(byte))).collect())
}

fn text(arguments: &cli::Init, app: &str, monitor: &str) -> String {
    let cli::Init { listen, topology, user, .. } = arguments;
    let (user, listen) = (quote(user), quote(listen));
    let account = arguments.user.replace('\'', "''");
    let mut text = format!(
        "# Highgate: one address in front of these servers. `highgate manual` lists every setting.\n\
         #\n\
         # Once, on the primary (the account of applications needs its rights as well):\n\
         #   CREATE USER '{account}'@'%' IDENTIFIED BY '{app}';\n\
         #   CREATE USER 'monitor'@'%' IDENTIFIED BY '{monitor}';\n\
         #   GRANT REPLICATION CLIENT, SLAVE MONITOR ON *.* TO 'monitor'@'%';\n\
         #   (MySQL: GRANT REPLICATION CLIENT ON *.* TO 'monitor'@'%';)\n\
         \n\
         [[listener]]                     # what applications connect to\n\
         name = \"main\"\n\
         bind = {listen}\n\
         mode = \"mysql\"\n\
         backend = \"main\"\n\
         \n\
         [[backend]]                      # the servers behind it\n\
         name = \"main\"\n\
         topology = \"{topology}\"\n\
         # The account that watches: it may look and no more.\n\
         monitor = {{ user = \"monitor\", password = \"{monitor}\" }}\n"
    );
    for (number, server) in arguments.servers.iter().enumerate() {
        let made = format!("db{}", number + 1);
        let named = server.split_once('=').filter(|(name, _)| is_name(name));
        let (name, address) = named.unwrap_or((&made, server));
        let (name, address) = (quote(name), quote(address));
        text.push_str(&format!("\n[[backend.server]]\nname = {name}\naddress = {address}\n"));
    }
    text.push_str(&format!(
        "\n\
         [[user]]                         # who may connect; as on the servers\n\
         name = {user}\n\
         password = \"{app}\"\n\
         \n\
         [admin]                          # for operators; a password is made at the first start\n\
         sql = \"127.0.0.1:6032\"\n\
         web = \"127.0.0.1:6080\"\n"
    ));
    text
}

/// Whether what stands before `=` is a server's name, and no part of an address with parameters.
fn is_name(text: &str) -> bool {
    let is_parameter =
        ["password", "passwd", "pwd"].iter().any(|known| text.eq_ignore_ascii_case(known));
    !is_parameter && !text.contains([':', '/', '?', '@', '[', ' '])
}

/// A text in TOML; what TOML does not take so (control characters) is refused when it is read.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
