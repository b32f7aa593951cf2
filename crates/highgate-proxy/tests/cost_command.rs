//! What a warm command costs on its way from the client to a server and back: no allocation (S-22).
//!
//! The data path runs here, in this process: one worker, a scripted server, a client. What the
//! worker's thread asks of the allocator is counted; client and server have threads of their own.
#![expect(unsafe_code, reason = "a counting allocator is an unsafe trait")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    backtrace::Backtrace,
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
};

use highgate_config::{NodeName, native};
use highgate_io::tasks::{self, Stopper};
use highgate_proxy::{
    monitor::{Director, Inputs},
    node::{Node, Settings},
};
use highgate_testkit::{
    mysql_async::{Conn, OptsBuilder, Statement, prelude::Queryable as _},
    scripted::{Command, Reply, Script, ScriptedServer, wire},
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

struct Counting;

/// The thread that is counted; 0 = none.
static COUNTED: AtomicI32 = AtomicI32::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// Where the first of them came from.
static PLACES: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());

thread_local! {
    /// Set while the place of an allocation is looked up, which allocates.
    static LOOKING: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    let counted = COUNTED.load(Ordering::Relaxed);
    let own = || rustix::thread::gettid().as_raw_pid();
    if counted == 0 || LOOKING.with(|looking| looking.replace(true)) {
        return;
    }
    if own() == counted && ALLOCATIONS.fetch_add(1, Ordering::Relaxed) < 5 {
        PLACES.lock().push(Backtrace::force_capture());
    }
    LOOKING.with(|looking| looking.set(false));
}

// SAFETY: every call is passed to the system's allocator as it came; counting touches statics and
// a constant-initialised thread local without a destructor, and what it allocates itself comes
// here while `LOOKING` is set.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `alloc` above with this layout, so from the system's allocator.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WARMING: u32 = 1_000;
const COMMANDS: u32 = 10_000;

/// The configuration: a hundred rules before the one that matches, as in the bench.
fn config(server: &str) -> String {
    let mut text = format!(
        "[[listener]]\nname = 'shop'\nbind = '127.0.0.1:0'\nbackend = 'shop'\n\
         [[backend]]\nname = 'shop'\nmonitor = {{ check = 'off' }}\n\
         [[backend.server]]\nname = 'db1'\naddress = '{server}'\n\
         [[user]]\nname = 'app'\npassword = 'secret'\n"
    );
    for rule in 1..=100 {
        text += &format!(
            "[[rule]]\nrule_id = {rule}\nmatch_digest = '^never{rule} '\nbackend = 'shop'\n"
        );
    }
    text
}

/// One row to each SELECT, in the protocol of the command; a statement has one parameter.
fn answer(command: &Command) -> Reply {
    const PREPARE: u8 = 0x16;
    const EXECUTE: u8 = 0x17;
    let names = ["a".to_owned()];
    match command.code {
        PREPARE => {
            let parameter = wire::rows(&names, &[], true).swap_remove(1);
            Reply::Packets(vec![vec![0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], parameter])
        }
        EXECUTE => {
            let mut packets = wire::rows(&names, &[], true);
            let row = [&[0, 0][..], &wire::text_row(&[Some("green".to_owned())])].concat();
            packets.insert(packets.len() - 1, row);
            Reply::Packets(packets)
        }
        _ if command.text().starts_with("SELECT a") => Reply::value("a", "green"),
        _ => Reply::Ok,
    }
}

/// The kernel's number of the only worker's thread.
fn worker() -> i32 {
    let mut tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let is_worker = |path: &std::path::Path| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "worker-0")
    };
    let found = tasks.find(|task| is_worker(&task.as_ref().unwrap().path())).unwrap().unwrap();
    found.file_name().to_str().unwrap().parse().unwrap()
}

/// Starts the data path: where it listens, and what keeps it.
async fn data_path(server: &str) -> (u16, Node, Stopper, impl Sized + use<>) {
    let name = NodeName::from("main");
    let config = Arc::new(native::parse("test.toml", &config(server), &name).unwrap().config);
    let node = Node::start(Settings { name: name.clone(), number: 0, workers: 1 }).unwrap();
    let (stopper, stop) = Stopper::new();
    let (configs, config_seen) = watch::channel(config.clone());
    let (overrides, overrides_seen) = watch::channel(Arc::default());
    let (store, records) = watch::channel(Arc::default());
    let (commands, orders) = mpsc::channel(1);
    let inputs = Inputs {
        config: config_seen,
        overrides: overrides_seen,
        commands: orders,
        node: name,
        records: Default::default(),
        store,
    };
    let (director, results) = Director::new(node.shared().clone(), inputs, node.view().clone());
    let mut planned = node.shared().snapshot_changed.subscribe();
    tokio::task::spawn_local(director.run(results, stop));
    planned.wait_for(|version| *version > 0).await.unwrap();
    node.apply(&config).unwrap();
    let addresses = node.addresses();
    let port = addresses[0].1.rsplit(':').next().unwrap().parse().unwrap();
    (port, node, stopper, (configs, overrides, records, commands))
}

async fn work(client: &mut Conn, statement: &Statement, count: u32) {
    for number in 0..count / 2 {
        let text = format!("SELECT a FROM t WHERE id = {number} AND b = 'x{}'", number % 7);
        let told: Option<String> = client.query_first(text).await.unwrap();
        assert_eq!(told.as_deref(), Some("green"));
        let told: Option<String> = client.exec_first(statement, (number,)).await.unwrap();
        assert_eq!(told.as_deref(), Some("green"));
    }
}

#[test]
fn a_warm_command_from_client_to_server_and_back_allocates_nothing() {
    let server = ScriptedServer::start(Script::new(answer)).unwrap();
    let runtime = tasks::local_runtime().unwrap();
    runtime.block_on(async {
        let (port, node, stopper, _kept) = data_path(&server.addr().to_string()).await;
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            .user(Some("app"))
            .pass(Some("secret"))
            .prefer_socket(false)
            .max_allowed_packet(Some(16_777_216))
            .wait_timeout(Some(100));
        let mut client = Conn::new(options).await.unwrap();
        let statement = client.prep("SELECT a FROM t WHERE id = ?").await.unwrap();
        work(&mut client, &statement, WARMING).await;
        COUNTED.store(worker(), Ordering::SeqCst);
        work(&mut client, &statement, COMMANDS).await;
        COUNTED.store(0, Ordering::SeqCst);
        let count = ALLOCATIONS.load(Ordering::SeqCst);
        let places: Vec<String> = PLACES.lock().iter().map(|it| it.to_string()).collect();
        assert_eq!(count, 0, "in {COMMANDS} commands; the first:\n{}", places.join("\n\n"));
        client.disconnect().await.unwrap();
        node.drain(std::time::Duration::from_secs(1)).await;
        node.stop();
        stopper.stop();
    });
}
