//! The conversation with a keeper that the test plays.

use std::{
    net::SocketAddr,
    os::{fd::AsFd, unix::net::UnixStream as Pair},
    sync::Arc,
    time::Duration,
};

use highgate_cluster::Alone;
use highgate_config::{Config, Drains, Layers as _, NodeName, native, table::Table as _};
use highgate_io::{
    clock, handover,
    tasks::{self, LocalTasks, Stopper},
};
use highgate_proxy::node::{Node, Settings};
use highgate_testkit::scratch::Scratch;
use highgate_vrrp::linux::{FromKeeper, ToKeeper};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::watch,
};

use super::{Keeper, Link, RefusalsTable, VipsTable, link::Order};

/// For what comes at once.
const SOON: Duration = Duration::from_secs(10);

const VIP: &str = "[[vip]]\nname = \"a\"\ninterface = \"eth1\"\nrouter_id = 51\n\
                   addresses = \"10.0.0.100/24\"\n";

/// The keeper's end of the stream.
struct Played(BufReader<UnixStream>);

impl Played {
    fn new(stream: Pair) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self(BufReader::new(UnixStream::from_std(stream).unwrap()))
    }

    async fn line(&mut self) -> ToKeeper {
        let mut line = String::new();
        clock::before(clock::now() + SOON, self.0.read_line(&mut line)).await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// The next message that is no beat.
    async fn told(&mut self) -> ToKeeper {
        loop {
            match self.line().await {
                ToKeeper::Beat(_) => {}
                message => return message,
            }
        }
    }

    /// Waits for a beat that says this.
    async fn beats(&mut self, serving: &Result<(), String>) {
        let by = clock::now() + SOON;
        while self.line().await != ToKeeper::Beat(serving.clone()) {
            assert!(clock::now() < by, "no beat says {serving:?}");
        }
    }

    /// What a keeper is told that knows nothing yet.
    async fn told_all(&mut self) -> Drains {
        let ToKeeper::Drains(drains) = self.told().await else { panic!("no drains") };
        let ToKeeper::Task(task) = self.told().await else { panic!("no task") };
        assert_eq!(task.plan.routers.len(), 1);
        drains
    }

    async fn raw(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    async fn say(&mut self, message: &FromKeeper) {
        self.raw(&line(message)).await;
    }

    /// As a keeper that takes the place of one that died.
    async fn succeed(&mut self) {
        self.raw(b"\n").await;
        self.say(&FromKeeper::Hello { pid: 1, why: Some("it died".to_owned()) }).await;
    }
}

/// A backup that has refused four advertisements.
const STATUS: &str = r#"{"Status":[{"name":"a","interface":"eth1","version":"V2","vrid":51,
    "addresses":["10.0.0.100"],"state":"Backup","state_for":{"secs":1,"nanos":0},
    "why":"it listens first","priority":100,"effective_priority":100,
    "interval":{"secs":1,"nanos":0},"takes_over_in":null,"active":null,"unmet":{},"peers":[],
    "counts":{"became_active":0,"became_backup":1,"became_fault":0,"sent":0,"sent_resignations":0,
    "heard":0,"heard_resignations":0,"heard_lower":0,"announced":0,
    "refused":{"Password":3,"Ttl":1}}}]}"#;

fn line(message: &FromKeeper) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).unwrap();
    line.push(b'\n');
    line
}

/// A process that talks with a keeper.
struct Desk {
    alone: Alone,
    node: Arc<Node>,
    link: Arc<Link>,
    _serving: watch::Sender<bool>,
    stopper: Stopper,
    _dir: Scratch,
}

impl Desk {
    async fn open(name: &str) -> (Self, Played) {
        let dir = Scratch::new(name).unwrap();
        let own = NodeName::from("n");
        let config: Config = native::parse("vip.toml", VIP, &own).unwrap().config;
        let alone = Alone::open(&dir.join("data"), own.clone()).unwrap();
        alone.start_with("vip.toml", config).await.unwrap();
        let node = Arc::new(Node::start(Settings { name: own, number: 0, workers: 1 }).unwrap());
        let (ours, theirs) = Pair::pair().unwrap();
        let (serving, serves) = watch::channel(true);
        let (stopper, stop) = Stopper::new();
        let tasks = LocalTasks::default();
        let serves = (serves, watch::channel(None).1, true);
        let link = Link::open(Some(Keeper(ours)), &alone, &node, serves, (&tasks, stop)).unwrap();
        let desk = Self { alone, node, link, _serving: serving, stopper, _dir: dir };
        (desk, Played::new(theirs))
    }

    fn events(&self) -> Vec<String> {
        let events = self.node.shared().events();
        events.into_iter().map(|(_, event)| event.text).collect()
    }

    async fn until_told(&self, text: &str) {
        let by = clock::now() + SOON;
        while !self.events().iter().any(|event| event.contains(text)) {
            assert!(clock::now() < by, "{text}: {:?}", self.events());
            clock::pause(Duration::from_millis(5)).await;
        }
    }

    fn end(self) {
        self.stopper.stop();
        self.node.stop();
    }
}

fn play(name: &str, test: impl AsyncFnOnce(&Desk, &mut Played)) {
    let runtime = tasks::local_runtime().unwrap();
    runtime.block_on(async {
        let (desk, mut keeper) = Desk::open(name).await;
        test(&desk, &mut keeper).await;
        desk.end();
    });
}

#[test]
fn a_keeper_that_dies_within_a_line_is_succeeded_by_one_that_is_told_all() {
    play("vips-half-line", async |desk, keeper| {
        keeper.told_all().await;
        let status = line(&FromKeeper::Status(Vec::new()));
        // Nothing, the first byte, one in the middle, all but the line's end, all.
        for cut in [0, 1, status.len() / 2, status.len() - 1, status.len()] {
            keeper.raw(&status[..cut]).await;
            keeper.succeed().await;
            keeper.told_all().await;
        }
        desk.until_told("it died").await;
        assert!(desk.link.is_there());
    });
}

#[test]
fn a_descriptor_of_a_line_that_was_not_ended_belongs_to_nobody() {
    play("vips-half-bound", async |desk, keeper| {
        keeper.told_all().await;
        let address: SocketAddr = "127.0.0.1:443".parse().unwrap();
        let bound = line(&FromKeeper::Bound { address, error: None });
        let (stray, _other) = Pair::pair().unwrap();
        handover::send(keeper.0.get_ref(), &bound[..5], &[stray.as_fd()]).unwrap();
        keeper.succeed().await;
        keeper.told_all().await;
        let (mut near, far) = Pair::pair().unwrap();
        let asked = desk.link.ask(|answer| Order::Bind(address, answer));
        let answered = async {
            assert_eq!(keeper.told().await, ToKeeper::Bind { address });
            handover::send(keeper.0.get_ref(), &bound, &[far.as_fd()]).unwrap();
        };
        let (got, ()) = tokio::join!(asked, answered);
        std::io::Write::write_all(&mut Pair::from(got.unwrap()), b"x").unwrap();
        near.set_nonblocking(true).unwrap();
        std::io::Read::read_exact(&mut near, &mut [0]).unwrap();
    });
}

#[test]
fn refused_advertisements_are_shown_by_kind() {
    play("vips-refusals", async |desk, keeper| {
        keeper.raw(STATUS.replace('\n', " ").as_bytes()).await;
        keeper.raw(b"\n").await;
        let by = clock::now() + SOON;
        while desk.link.status().is_empty() {
            assert!(clock::now() < by, "{:?}", desk.events());
            clock::pause(Duration::from_millis(5)).await;
        }
        let vips = VipsTable(desk.link.clone());
        let place = |name| vips.columns().iter().position(|column| column.name == name).unwrap();
        let row = vips.rows().remove(0);
        assert_eq!(row[place("adverts_refused")], 4_u64.into());
        assert_eq!(row[place("refused_for")], "password 3 ttl 1".into());
        let rows = RefusalsTable(desk.link.clone()).rows();
        let expected = [("password", 3_u64), ("ttl", 1)];
        let expected = expected.map(|(kind, count)| vec!["a".into(), kind.into(), count.into()]);
        assert_eq!(rows, expected);
    });
}

#[test]
fn an_end_that_nobody_asked_for_is_told() {
    play("vips-stopped", async |desk, keeper| {
        keeper.told_all().await;
        keeper.say(&FromKeeper::Stopped).await;
        desk.until_told("the processes that keep the addresses are gone").await;
        assert!(!desk.link.is_there());
        let refused = desk.link.drain(None, Some("night")).unwrap_err();
        assert!(refused.contains("keeps no vips"), "{refused}");
        // A process that replaces this one brings a keeper of its own.
        assert!(desk.link.hand_over().await.unwrap().is_none());
    });
}

#[test]
fn what_operators_say_during_a_hand_over_that_fails_is_said_after_it() {
    play("vips-resume", async |desk, keeper| {
        let taken_out = ToKeeper::Drains(Drains::default());
        assert_eq!(keeper.told().await, taken_out);
        desk.alone.drain(Some("b".to_owned()), Some("before".to_owned())).await.unwrap();
        assert!(desk.link.hand_over().await.unwrap().is_some());
        desk.alone.drain(Some("a".to_owned()), Some("by alice".to_owned())).await.unwrap();
        desk.alone.drain(Some("b".to_owned()), None).await.unwrap();
        let unheard = ToKeeper::Drain { router: None, why: None };
        desk.link.say(unheard).await;
        desk.link.resume().await;
        assert!(matches!(keeper.told().await, ToKeeper::Task(_)), "from the start");
        let drains = keeper.told_all().await;
        assert_eq!((drains.why("a"), drains.why("b")), (Some("by alice"), None));
    });
}

#[test]
fn an_order_without_an_answer_does_not_shift_the_answers_to_others() {
    play("vips-deafen", async |desk, keeper| {
        keeper.told_all().await;
        let (one, _other) = Pair::pair().unwrap();
        let order = || {
            let socket = one.as_fd().try_clone_to_owned().unwrap();
            desk.link.ask(|answer| Order::Deafen(Vec::new(), vec![socket], answer))
        };
        let answers = async {
            let mut numbers = Vec::new();
            for _ in 0..2 {
                let ToKeeper::Deafen { number, .. } = keeper.told().await else { panic!() };
                numbers.push(number);
            }
            keeper.say(&FromKeeper::Deafened { number: numbers[1], error: None }).await;
        };
        let (first, second, ()) = tokio::join!(order(), order(), answers);
        assert!(second.is_ok(), "{second:?}");
        assert_eq!(first.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn a_data_worker_that_has_no_turns_means_that_this_process_does_not_serve() {
    play("vips-silent-worker", async |desk, keeper| {
        keeper.told_all().await;
        keeper.beats(&Ok(())).await;
        // As one that hangs, it says no more that it lives.
        desk.node.stop();
        keeper.beats(&Err("data worker 0 does not answer".to_owned())).await;
    });
}
