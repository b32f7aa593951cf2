//! The contenders: how each is configured to do the same work with the same servers on one thread.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::client::Client;
use crate::contender::{Process, free_addr, which};
use crate::poll::{now, pause};

/// The processor that the proxies have for themselves.
pub(crate) const PROXY_CPU: usize = 0;
/// The processor that servers and load share.
pub(crate) const LOAD_CPU: usize = 1;

/// How the proxies of one scenario are set up.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Whether the proxies that can speak MySQL do.
    pub(crate) mysql: bool,
    /// Highgate's `max_connections` of each server.
    pub(crate) server_limit: Option<usize>,
    /// A certificate and its key: MySQL over TLS to clients.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// The monitor's interval.
    pub(crate) interval: Duration,
    /// The account of the monitor; applications use `app` with its name as password.
    pub(crate) monitor: &'static str,
    /// Further accounts of Highgate's, in its own form.
    pub(crate) accounts: &'static str,
}

impl Shape {
    pub(crate) fn tcp() -> Self {
        Self {
            mysql: false,
            server_limit: Some(12_000),
            tls: None,
            interval: Duration::from_millis(2000),
            monitor: "app",
            accounts: "",
        }
    }

    pub(crate) fn mysql() -> Self {
        Self { mysql: true, ..Self::tcp() }
    }
}

/// Where everything of a run lives.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) highgate: Option<PathBuf>,
    pub(crate) folder: PathBuf,
    pub(crate) me: PathBuf,
}

impl Place {
    /// A lean server; `replica_of` makes it answer monitors as a replica of that address does.
    pub(crate) fn lean(
        &self,
        mode: &str,
        replica_of: Option<SocketAddr>,
        id: u32,
    ) -> anyhow::Result<Process> {
        let addr = free_addr()?;
        let mut command = Command::new(&self.me);
        command.args(["lean-server", "--listen", &addr.to_string(), "--mode", mode]);
        command.args(["--server-id", &id.to_string()]);
        if let Some(primary) = replica_of {
            command.args(["--replica-of", &primary.to_string()]);
        }
        let log = self.folder.join(format!("server-{id}.log"));
        Process::start(&command, LOAD_CPU, addr, &log)
    }

    /// The bare relay, and every other proxy that is installed, before the first of `servers`.
    pub(crate) fn others(
        &self,
        shape: &Shape,
        server: SocketAddr,
    ) -> anyhow::Result<Vec<(&'static str, Process)>> {
        let mut out = vec![("relay", self.relay(server)?)];
        for (name, start) in [
            ("haproxy", Self::haproxy as fn(&Self, SocketAddr, &Path) -> anyhow::Result<Process>),
            ("nginx", Self::nginx),
        ] {
            if let Some(program) = which(name) {
                out.push((name, start(self, server, &program)?));
            }
        }
        if let (true, None, Some(program)) = (shape.mysql, &shape.tls, which("proxysql")) {
            out.push(("proxysql", self.proxysql(server, &program)?));
        }
        Ok(out)
    }

    /// Highgate before `servers`, of which the first is the primary; `None` when it wasn't named.
    pub(crate) fn highgate(
        &self,
        shape: &Shape,
        servers: &[SocketAddr],
    ) -> anyhow::Result<Option<Process>> {
        let Some(program) = &self.highgate else {
            return Ok(None);
        };
        let addr = free_addr()?;
        let file = self.folder.join(format!("highgate-{}.toml", addr.port()));
        std::fs::write(&file, highgate_config(addr, servers, shape))?;
        let mut command = Command::new(program);
        let data = self.folder.join(format!("data-{}", addr.port()));
        command.arg("run").arg("--data-dir").arg(data).arg(&file);
        let log = self.folder.join(format!("highgate-{}.log", addr.port()));
        let process = Process::start(&command, PROXY_CPU, addr, &log)?;
        if shape.mysql {
            serves(addr).with_context(|| tail(&log))?;
        }
        Ok(Some(process))
    }

    fn relay(&self, server: SocketAddr) -> anyhow::Result<Process> {
        let addr = free_addr()?;
        let mut command = Command::new(&self.me);
        let (listen, to) = (addr.to_string(), server.to_string());
        command.args(["relay", "--listen", &listen, "--to", &to]);
        Process::start(&command, PROXY_CPU, addr, &self.folder.join("relay.log"))
    }

    fn haproxy(&self, server: SocketAddr, program: &Path) -> anyhow::Result<Process> {
        let (addr, file) = (free_addr()?, self.folder.join("haproxy.cfg"));
        std::fs::write(&file, haproxy_config(addr, server))?;
        let mut command = Command::new(program);
        command.args(["-db", "-f"]).arg(&file);
        Process::start(&command, PROXY_CPU, addr, &self.folder.join("haproxy.log"))
    }

    fn nginx(&self, server: SocketAddr, program: &Path) -> anyhow::Result<Process> {
        let (addr, file) = (free_addr()?, self.folder.join("nginx.conf"));
        std::fs::write(&file, nginx_config(addr, server, &self.folder))?;
        let mut command = Command::new(program);
        command.arg("-p").arg(&self.folder).arg("-c").arg(&file);
        Process::start(&command, PROXY_CPU, addr, &self.folder.join("nginx.log"))
    }

    fn proxysql(&self, server: SocketAddr, program: &Path) -> anyhow::Result<Process> {
        let (addr, admin) = (free_addr()?, free_addr()?);
        let data = self.folder.join(format!("proxysql-{}", addr.port()));
        std::fs::create_dir_all(&data)?;
        let file = data.join("proxysql.cnf");
        std::fs::write(&file, proxysql_config(addr, admin, server, &data))?;
        let mut command = Command::new(program);
        command.args(["-f", "--initial", "-M", "-c"]).arg(&file);
        let process = Process::start(&command, PROXY_CPU, addr, &data.join("log"))?;
        serves(addr).with_context(|| tail(&data.join("log")))?;
        Ok(process)
    }
}

/// Waits until a login and a query succeed, reads and writes both.
pub(crate) fn serves(addr: SocketAddr) -> anyhow::Result<()> {
    let end = now() + Duration::from_secs(15);
    loop {
        let tried = Client::login(addr).and_then(|mut client| {
            client.query("SELECT 1")?;
            client.query("UPDATE bench.t SET k = k + 1 WHERE id = 0")
        });
        match tried {
            Ok(_) => return Ok(()),
            Err(error) if now() >= end => return Err(error.context("no login and query in 15 s")),
            Err(_) => pause(Duration::from_millis(50)),
        }
    }
}

/// The end of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let from = text.len().saturating_sub(2000);
    String::from_utf8_lossy(text.get(from..).unwrap_or_default()).into_owned()
}

/// HAProxy in TCP mode with one thread.
fn haproxy_config(listen: SocketAddr, server: SocketAddr) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 9000\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
         timeout client 10m\n  timeout server 10m\nlisten bench\n  bind {listen}\n  server one {server}\n"
    )
}

/// nginx's stream module, in one process.
fn nginx_config(listen: SocketAddr, server: SocketAddr, folder: &Path) -> String {
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let load = if Path::new(module).is_file() {
        format!("load_module {module};\n")
    } else {
        String::new()
    };
    format!(
        "{load}daemon off;\nmaster_process off;\npid {0}/nginx.pid;\nerror_log {0}/nginx.err;\n\
         events {{ worker_connections 18000; }}\nstream {{ server {{ listen {listen}; tcp_nodelay on; \
         proxy_pass {server}; }} }}\n",
        folder.display()
    )
}

/// ProxySQL with one thread and no rule.
fn proxysql_config(
    listen: SocketAddr,
    admin: SocketAddr,
    server: SocketAddr,
    data: &Path,
) -> String {
    format!(
        "datadir=\"{}\"\nadmin_variables={{ admin_credentials=\"admin:admin\"\n mysql_ifaces=\"{admin}\" }}\n\
         mysql_variables={{ threads=1\n max_connections=30000\n interfaces=\"{listen}\"\n \
         server_version=\"10.11.19\"\n monitor_enabled=false\n }}\n\
         mysql_servers=({{ address=\"{}\", port={}, hostgroup=0, max_connections=1000 }})\n\
         mysql_users=({{ username=\"app\", password=\"app\", default_hostgroup=0, max_connections=30000 }})\n",
        data.display(),
        server.ip(),
        server.port()
    )
}

/// Highgate with one worker; 100 rules in mysql mode.
fn highgate_config(listen: SocketAddr, servers: &[SocketAddr], shape: &Shape) -> String {
    let mode = if shape.mysql { "mysql" } else { "tcp" };
    let mut out = format!(
        "workers = 1\nmax_connections = 12000\nadmin = {{ sql = \"off\", web = \"off\" }}\n\n[[listener]]\nname = \"bench\"\n\
         bind = \"{listen}\"\nmode = \"{mode}\"\nbackend = \"bench\"\n"
    );
    if let Some((certificate, key)) = &shape.tls {
        let (certificate, key) = (certificate.display(), key.display());
        let _ = writeln!(
            out,
            "tls = {{ mode = \"preferred\", cert = \"{certificate}\", key = \"{key}\" }}"
        );
    }
    let _ = write!(out, "\n{}\n[[backend]]\nname = \"bench\"\n", shape.accounts);
    if shape.mysql {
        let _ = writeln!(
            out,
            "topology = \"mariadb-replication\"\nmonitor = {{ user = \"{0}\", password = \"{0}\", \
             interval = \"{1}ms\" }}",
            shape.monitor,
            shape.interval.as_millis()
        );
    }
    for (index, server) in servers.iter().enumerate() {
        let _ = write!(out, "\n[[backend.server]]\nname = \"db{index}\"\naddress = \"{server}\"\n");
        if let Some(limit) = shape.server_limit {
            let _ = writeln!(out, "max_connections = {limit}");
        }
    }
    if shape.mysql {
        out.push_str("\n[[user]]\nname = \"app\"\npassword = \"app\"\n");
        for rule in 1..=100 {
            let _ = write!(
                out,
                "\n[[rule]]\nrule_id = {rule}\nactive = true\nmatch_digest = \"^SELECT x FROM never_{rule} \"\n\
                 backend = \"bench\"\napply = true\n"
            );
        }
    }
    out
}
