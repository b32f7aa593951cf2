//! Crowds at the door: thousands at once, some of them hostile, and no descriptor left.

#[path = "common/crowd.rs"]
mod crowd;
#[path = "common/failure.rs"]
mod failure;

use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crowd::{connect_from, log_in, packet, query, raise_descriptors};
use failure::{BINARY, ctl, pause, run, table};
use highgate_testkit::{
    highgate::HighgateProcess,
    scripted::{Reply, Script, ScriptedServer},
    usage::{cpu, descriptors, resident},
    wait::{self, Deadline},
};
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};

const BACKEND: &str = "monitor = { user = \"m\", password = \"m\", check = \"connect\" }\n";
const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// The two that measure waits of a bystander are no bystanders of each other.
static ALONE: parking_lot::Mutex<()> = parking_lot::const_mutex(());

fn server() -> ScriptedServer {
    let script = Script::new(|command| match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        _ => Reply::Ok,
    });
    ScriptedServer::start(script).unwrap()
}

fn front(server: &ScriptedServer, node: &str, listener: &str) -> HighgateProcess {
    let text = failure::toml(&[server.addr()], BACKEND, listener);
    HighgateProcess::start(BINARY, &format!("{node}\n{text}")).unwrap()
}

/// A client that asks all the time; gives its answers and its longest wait when it is told to end.
fn bystander(
    address: SocketAddr,
    ends: Arc<AtomicBool>,
) -> std::thread::JoinHandle<(u32, Duration)> {
    std::thread::spawn(move || {
        run(async move {
            let mut stream = connect_from(HOME, address).await.unwrap();
            log_in(&mut stream, "app").await.unwrap();
            let (mut count, mut longest) = (0, Duration::ZERO);
            while !ends.load(Ordering::Relaxed) {
                let started = wait::now();
                query(&mut stream, "SELECT 1").await.unwrap();
                longest = longest.max(wait::now() - started);
                count += 1;
                pause(Duration::from_millis(5)).await;
            }
            (count, longest)
        })
    })
}

#[test]
fn ten_thousand_clients_at_once_are_all_served_and_others_go_on() {
    const OURS: u64 = 300;
    let _alone = ALONE.lock();
    let may = raise_descriptors(10_000 + OURS).saturating_sub(OURS).min(10_000);
    let count = usize::try_from(may).unwrap();
    let server = server();
    let process = front(&server, "max_connections = 12000", "handshake_timeout = \"2m\"");
    let address = process.listener("shop").unwrap();
    let ends = Arc::new(AtomicBool::new(false));
    let other = bystander(address, ends.clone());
    let before = resident(process.pid());
    let started = wait::now();
    run(async {
        let mut clients = JoinSet::new();
        for _ in 0..count {
            clients.spawn(async move {
                let mut stream = connect_from(HOME, address).await?;
                log_in(&mut stream, "app").await?;
                Ok::<_, anyhow::Error>(stream)
            });
        }
        let mut open: Vec<TcpStream> = Vec::with_capacity(count);
        while let Some(client) = clients.join_next().await {
            open.push(client.unwrap().unwrap());
        }
        let logged_in = wait::now() - started;
        let all = &table(&process, "listeners").unwrap()[0]["clients"];
        assert!(all.as_u64().unwrap() > count as u64, "{all} of {count} at once");
        let grown = resident(process.pid()).saturating_sub(before);
        for mut stream in open.drain(..) {
            clients.spawn(async move {
                query(&mut stream, "SELECT 1").await?;
                Ok(stream)
            });
        }
        while let Some(client) = clients.join_next().await {
            open.push(client.unwrap().unwrap());
        }
        eprintln!(
            "{count} clients: logged in after {logged_in:?}, answered after {:?}; {} KiB each",
            wait::now() - started,
            grown / count as u64
        );
    });
    ends.store(true, Ordering::Relaxed);
    let (answers, longest) = other.join().unwrap();
    eprintln!("another client: {answers} answers, the slowest after {longest:?}");
    assert!(answers > 20 && longest < Duration::from_secs(5), "{answers}, {longest:?}");
    assert!(!process.log().contains("panicked"), "{}", process.log());
    wait::eventually(Deadline::seconds(10), "their descriptors to be closed", || {
        let left = descriptors(process.pid());
        anyhow::ensure!(left < 400, "{left}");
        Ok(())
    })
    .unwrap();
}

/// A failover cut thousands of clients off. They are back at once, and the server that is left has no
/// connection open yet.
fn returning(crowd: u64) {
    const OURS: u64 = 400;
    const RATE: usize = 40;
    const MOST: usize = 60;
    let _alone = ALONE.lock();
    let may = raise_descriptors(crowd + OURS).saturating_sub(OURS).min(crowd);
    let count = usize::try_from(may).unwrap();
    let (old, new) = (server(), server());
    let backend = format!(
        "{BACKEND}connect_rate = {RATE}\nmax_queue = 20000\nqueue_timeout = \"2m\"\nslow_start = \"0s\"\n"
    );
    let listener = "handshake_timeout = \"2m\"\nmax_connections = 12000";
    let toml = failure::toml(&[old.addr(), new.addr()], &backend, listener);
    // The second one.
    let toml = format!("{toml}backup = true\nmax_connections = {MOST}\n");
    let process = HighgateProcess::start(BINARY, &toml).unwrap();
    let address = process.listener("shop").unwrap();
    let ends = Arc::new(AtomicBool::new(false));
    let other = bystander(address, ends.clone());
    let served = wait::wait_until(Deadline::seconds(10), || old.queries().len() > 20);
    assert!(served && new.logins().is_empty(), "the backup served: {}", new.logins().len());
    drop(old);
    let died = wait::now();
    let mut waits = run(async {
        let mut clients = JoinSet::new();
        for _ in 0..count {
            clients.spawn(async move {
                let mut stream = connect_from(HOME, address).await.unwrap();
                log_in(&mut stream, "app").await.unwrap();
                let asked = wait::now();
                query(&mut stream, "SELECT 1").await.unwrap();
                wait::now() - asked
            });
        }
        let mut waits = Vec::with_capacity(count);
        while let Some(one) = clients.join_next().await {
            waits.push(one.unwrap());
            // However late a login is seen here, its time has passed there.
            let (logins, passed) = (new.logins().len(), wait::now() - died);
            let may = RATE * (usize::try_from(passed.as_secs()).unwrap() + 2);
            assert!(logins <= may.min(MOST), "{logins} logins after {passed:?}");
        }
        waits
    });
    let took = wait::now() - died;
    ends.store(true, Ordering::Relaxed);
    let (answers, longest) = other.join().unwrap();
    waits.sort_unstable();
    eprintln!(
        "{count} clients were back and served {took:?} after the failover, on {} connections; waits for \
         the first answer: median {:?}, p99 {:?}, longest {:?}; one that stayed: {answers} answers, the \
         slowest after {longest:?}",
        new.logins().len(),
        waits[count / 2],
        waits[count * 99 / 100],
        waits[count - 1],
    );
    assert!(longest < Duration::from_secs(15), "one that stayed waited {longest:?}");
    assert!(!process.log().contains("panicked"), "{}", process.log());
    let told = ctl(&process, &["events", "--last", "200"]).unwrap();
    assert!(told.lines().count() < 120, "a flood of events:\n{told}");
}

#[test]
fn thousands_that_return_after_a_failover_are_ramped_and_all_served() {
    returning(2_000);
}

#[test]
#[ignore = "soak: ten thousand logins on a server that has nothing open"]
fn ten_thousand_clients_that_return_after_a_failover_are_ramped_and_all_served() {
    returning(10_000);
}

/// One that sends a login packet of 32 bytes, one byte per second; gives when that was ended, or nothing
/// where it was refused at once.
async fn trickle(source: IpAddr, address: SocketAddr) -> Option<Duration> {
    let mut stream = connect_from(source, address).await.unwrap();
    let (_, greeting) = packet(&mut stream).await.unwrap();
    if greeting.first() == Some(&0xff) {
        return None;
    }
    let started = wait::now();
    let (mut reader, mut writer) = stream.into_split();
    let drip = async {
        for byte in [32_u8, 0, 0, 1].into_iter().chain([0; 32]) {
            if writer.write_all(&[byte]).await.is_err() {
                break;
            }
            pause(Duration::from_secs(1)).await;
        }
    };
    let mut sink = [0; 64];
    tokio::select! {
        () = drip => panic!("a login of half a minute was let go on"),
        _ = reader.read(&mut sink) => {}
    }
    Some(wait::now() - started)
}

/// A crowd of logins that never come to their end, from so many addresses, while another client works.
fn trickling(crowd: usize, addresses: u8, seconds: u64, patience: Duration) {
    const PER_ADDRESS: usize = 1_000;
    let _alone = ALONE.lock();
    // This process has one for each of them; what it may have, Highgate may have too.
    let may = raise_descriptors(crowd as u64 + 2_800);
    assert!(may > crowd as u64 + 300, "{may} descriptors are not enough for {crowd} clients");
    let server = server();
    let process = front(
        &server,
        "max_connections = 12000",
        &format!("handshake_timeout = \"{seconds}s\"\nmax_connections_per_address = {PER_ADDRESS}"),
    );
    let address = process.listener("shop").unwrap();
    let ends = Arc::new(AtomicBool::new(false));
    let other = bystander(address, ends.clone());
    let before = resident(process.pid());
    let mut most = 0;
    run(async {
        let mut clients = JoinSet::new();
        for number in 0..crowd {
            let last = 2 + u8::try_from(number % usize::from(addresses)).unwrap();
            clients.spawn(trickle(IpAddr::from([127, 0, 0, last]), address));
        }
        let (mut refused, mut longest) = (0, Duration::ZERO);
        while let Some(one) = clients.join_next().await {
            most = most.max(resident(process.pid()));
            match one.unwrap() {
                Some(after) => longest = longest.max(after),
                None => refused += 1,
            }
        }
        eprintln!("{refused} refused at once, the last of the others ended after {longest:?}");
        assert_eq!(refused, crowd - PER_ADDRESS * usize::from(addresses));
        assert!(longest < Duration::from_secs(seconds) + patience, "{longest:?}");
    });
    ends.store(true, Ordering::Relaxed);
    let (answers, longest) = other.join().unwrap();
    let each = most.saturating_sub(before) / (u64::from(addresses) * PER_ADDRESS as u64);
    eprintln!("another client: {answers} answers, the slowest after {longest:?}; {each} KiB each");
    assert!(answers > 50 && longest < Duration::from_secs(3), "{answers}, {longest:?}");
    let events = ctl(&process, &["events", "--last", "60"]).unwrap();
    assert!(events.contains("refused 127.0.0.2: max_connections_per_address"), "{events}");
    let lines = events.lines().count();
    assert!(lines < 9 + usize::from(addresses), "a crowd makes few events:\n{events}");
    assert!(!process.log().contains("panicked"), "{}", process.log());
    run(async {
        let mut stream = connect_from(AWAY, address).await.unwrap();
        log_in(&mut stream, "app").await.unwrap();
        query(&mut stream, "SELECT 1").await.unwrap();
    });
    wait::eventually(Deadline::seconds(10), "their descriptors to be closed", || {
        let left = descriptors(process.pid());
        anyhow::ensure!(left < 400, "{left}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn logins_that_trickle_end_in_time_and_take_no_place_from_others() {
    trickling(1_200, 1, 3, Duration::from_secs(5));
}

#[test]
#[ignore = "soak: ten thousand logins of a byte per second"]
fn ten_thousand_logins_that_trickle_end_in_time_and_take_no_place_from_others() {
    trickling(10_000, 8, 10, Duration::from_secs(10));
}

/// How many of them are greeted, in good time.
async fn greeted(crowd: &mut [TcpStream]) -> usize {
    let mut greeted = 0;
    for stream in crowd {
        let greeting = tokio::time::timeout(Duration::from_secs(10), packet(stream)).await;
        greeted += usize::from(greeting.unwrap().unwrap().1.first() == Some(&10));
    }
    greeted
}

/// Whether the web page answers.
fn page(address: SocketAddr) -> anyhow::Result<()> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    anyhow::ensure!(&head == b"HTTP/1.1 ", "{head:?}");
    Ok(())
}

#[test]
fn without_descriptors_accepting_pauses_operators_are_answered_and_all_recovers() {
    raise_descriptors(2_000);
    let server = server();
    let process = front(&server, "", "handshake_timeout = \"60s\"");
    let address = process.listener("shop").unwrap();
    let pid = process.pid();
    let limit = |soft: usize| {
        let text = format!("--nofile={soft}:");
        let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &text]).status();
        assert!(done.unwrap().success());
    };
    run(async {
        let mut first = connect_from(HOME, address).await.unwrap();
        log_in(&mut first, "app").await.unwrap();
        query(&mut first, "SELECT 1").await.unwrap();
        // Less than is believed to be there: what happens when others use descriptors up.
        limit(descriptors(pid) + 40);
        let mut crowd = Vec::new();
        for _ in 0..120 {
            crowd.push(connect_from(HOME, address).await.unwrap());
        }
        wait::eventually(Deadline::seconds(5), "the event", || {
            anyhow::ensure!(process.log().contains("it pauses until descriptors are free"));
            Ok(())
        })
        .unwrap();
        let before = cpu(pid);
        for _ in 0..20 {
            query(&mut first, "SELECT 1").await.unwrap();
            pause(Duration::from_millis(50)).await;
        }
        let used = cpu(pid) - before;
        eprintln!("{used} hundredths of a second of processor time within one second");
        assert!(used < 30, "it spins: {used} hundredths of a second in one second");
        // Each that goes lets one come, and then there is no descriptor again.
        for _ in 0..15 {
            drop(crowd.remove(0));
            crowd.push(connect_from(HOME, address).await.unwrap());
            pause(Duration::from_millis(120)).await;
        }
        let told = process.log().matches("it pauses until descriptors are free").count();
        assert!(told <= 3, "told {told} times");
        // The owner's socket has descriptors of its own.
        for _ in 0..10 {
            let asked = wait::now();
            ctl(&process, &["show", "listeners"]).unwrap();
            assert!(wait::now() - asked < Duration::from_secs(2), "an operator had to wait");
        }
        // Clients that leave free descriptors: that alone makes it go on, for the last in the queue too.
        crowd.drain(..90);
        assert_eq!(greeted(&mut crowd).await, 30);
        let web = process.admin_web().unwrap();
        wait::eventually(Deadline::seconds(10), "the web page", || page(web)).unwrap();
        // The limit is raised, as an operator would.
        limit(descriptors(pid) + 10);
        for _ in 0..90 {
            crowd.push(connect_from(HOME, address).await.unwrap());
        }
        limit(20_000);
        let all = greeted(&mut crowd.split_off(30)).await;
        assert_eq!(all, 90, "clients that waited in the kernel's queue are served");
    });
    assert!(!process.log().contains("panicked"), "{}", process.log());
}

/// One event for each place that became free: up to fifty in a second, and nothing else was left to see.
#[test]
fn a_full_node_whose_clients_come_and_go_says_so_once_in_a_while() {
    const PLACES: usize = 10;
    raise_descriptors(1_000);
    let server = server();
    let process = front(&server, "max_connections = 10", "handshake_timeout = \"60s\"");
    let address = process.listener("shop").unwrap();
    run(async {
        let mut crowd = Vec::new();
        for _ in 0..2 * PLACES {
            crowd.push(connect_from(HOME, address).await.unwrap());
        }
        for _ in 0..40 {
            assert_eq!(greeted(&mut crowd[..1]).await, 1);
            drop(crowd.remove(0));
            crowd.push(connect_from(HOME, address).await.unwrap());
            // Longer than the pause of a full node.
            pause(Duration::from_millis(30)).await;
        }
    });
    let told = process.log().matches("pauses: max_connections of the node is reached").count();
    assert!((1..=3).contains(&told), "told {told} times");
}

/// "max_connections of the node is reached" was told where nobody had set it.
#[test]
fn a_node_that_is_full_for_want_of_descriptors_says_so() {
    let server = server();
    let process = front(&server, "", "handshake_timeout = \"60s\"");
    let address = process.listener("shop").unwrap();
    let done = Command::new("prlimit")
        .args(["--pid", &process.pid().to_string(), "--nofile=104:104"])
        .status();
    assert!(done.unwrap().success());
    // It looks at the limit whenever a configuration is put in force.
    process.signal(rustix::process::Signal::HUP).unwrap();
    wait::eventually(Deadline::seconds(10), "the new limit", || {
        let most = table(&process, "node")?[0]["max_clients"].as_u64();
        anyhow::ensure!(most == Some(20), "{most:?}");
        Ok(())
    })
    .unwrap();
    run(async {
        let mut crowd = Vec::new();
        for _ in 0..22 {
            crowd.push(connect_from(HOME, address).await.unwrap());
        }
        wait::eventually(Deadline::seconds(10), "the event", || {
            anyhow::ensure!(
                process.log().contains("limit of file descriptors (`ulimit -n`) leaves")
            );
            Ok(())
        })
        .unwrap();
    });
    assert!(!process.log().contains("max_connections of the node"), "{}", process.log());
}

/// They took all descriptors of a small process: no check, `/health` or session had one any more.
#[test]
fn idle_sockets_at_the_ports_for_operators_leave_descriptors_to_all_else() {
    const LIMIT: usize = 256;
    let server = server();
    let process = front(&server, "", "");
    let pid = process.pid();
    let done = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--nofile={LIMIT}:{LIMIT}")])
        .status();
    assert!(done.unwrap().success());
    process.signal(rustix::process::Signal::HUP).unwrap();
    wait::eventually(Deadline::seconds(10), "the new limit", || {
        let most = table(&process, "node")?[0]["max_clients"].as_u64();
        anyhow::ensure!(most == Some(96), "{most:?}");
        Ok(())
    })
    .unwrap();
    let before = descriptors(pid);
    run(async {
        let (web, sql) = (process.admin_web().unwrap(), process.admin_sql().unwrap());
        let mut idle = Vec::new();
        for _ in 0..300 {
            idle.push((connect_from(HOME, web).await.unwrap(), true));
            idle.push((connect_from(HOME, sql).await.unwrap(), false));
        }
        // The last ones are closed, which tells that all before were looked at.
        for (stream, is_web) in idle.iter_mut().rev().take(2) {
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said).await;
            let refused = b"Too many connections to the SQL port";
            assert!(*is_web || said.windows(refused.len()).any(|it| it == refused));
        }
        let taken = descriptors(pid).saturating_sub(before);
        assert!((2..=16).contains(&taken), "they have {taken} of {LIMIT} descriptors");
        let mut client = connect_from(HOME, process.listener("shop").unwrap()).await.unwrap();
        log_in(&mut client, "app").await.unwrap();
        query(&mut client, "SELECT 1").await.unwrap();
    });
}

/// Each check held a descriptor until its time-out, and clients found none: their logins failed.
#[test]
fn checks_of_servers_that_do_not_answer_leave_descriptors_to_clients() {
    const LIMIT: u32 = 256;
    raise_descriptors(2_000);
    let server = server();
    // Connected by the system, and never greeted.
    let silent = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut text = failure::toml(&[server.addr()], BACKEND, "");
    text += "[[backend]]\nname = \"silent\"\nmonitor = { user = \"m\", password = \"m\", check = \
             \"handshake\", interval = \"200ms\", timeout = \"300ms\" }\n";
    for last in 1..=200 {
        let address = format!("127.0.1.{last}:{port}");
        text += &format!("[[backend.server]]\nname = \"no{last}\"\naddress = \"{address}\"\n");
    }
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let pid = process.pid();
    let limit = format!("--nofile={LIMIT}:{LIMIT}");
    let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status();
    assert!(done.unwrap().success());
    process.signal(rustix::process::Signal::HUP).unwrap();
    let late = "checks come later than their `interval`";
    wait::eventually(Deadline::seconds(30), "checks that take turns", || {
        let most = table(&process, "node")?[0]["max_clients"].as_u64();
        anyhow::ensure!(most == Some(64), "{most:?}");
        let used = descriptors(pid);
        anyhow::ensure!(used < 160, "{used} descriptors");
        anyhow::ensure!(process.log().contains(late));
        Ok(())
    })
    .unwrap();
    run(async {
        let mut clients = Vec::new();
        for _ in 0..40 {
            let mut client = connect_from(HOME, process.listener("shop").unwrap()).await.unwrap();
            log_in(&mut client, "app").await.unwrap();
            query(&mut client, "SELECT 1").await.unwrap();
            clients.push(client);
        }
    });
    wait::eventually(Deadline::seconds(60), "all to have had their turns", || {
        let servers = failure::servers(&process)?;
        let down = servers.iter().filter(|server| server.status == "down").count();
        anyhow::ensure!(down == 200, "{down} are down");
        let alive = servers.iter().find(|server| server.name == "db1").map(|it| &it.status);
        anyhow::ensure!(alive.is_some_and(|status| status == "up"), "{alive:?}");
        Ok(())
    })
    .unwrap();
    let log = process.log();
    assert_eq!(log.matches(late).count(), 1, "{log}");
    for wrong in ["checks can't be made", "descriptors are free", "panicked"] {
        assert!(!log.contains(wrong), "{wrong}: {log}");
    }
}

#[test]
fn a_storm_of_retries_against_dead_servers_fails_fast_and_ends_with_them() {
    raise_descriptors(2_000);
    let server = Arc::new(server());
    let down = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = down.local_addr().unwrap();
    drop(down);
    let backend =
        format!("{BACKEND}failover_wait = \"300ms\"\nmax_queue = 50\nqueue_timeout = \"1s\"\n");
    let process = HighgateProcess::start(BINARY, &failure::toml(&[dead], &backend, "")).unwrap();
    let address = process.listener("shop").unwrap();
    let ends = Arc::new(AtomicBool::new(false));
    let stop = ends.clone();
    let storm = std::thread::spawn(move || {
        run(async move {
            let mut clients = JoinSet::new();
            for _ in 0..300 {
                let ends = stop.clone();
                clients.spawn(async move {
                    let mut stream = connect_from(HOME, address).await.unwrap();
                    log_in(&mut stream, "app").await.unwrap();
                    let (mut failed, mut longest) = (0, Duration::ZERO);
                    loop {
                        let asked = wait::now();
                        let answer = query(&mut stream, "SELECT 1").await;
                        longest = longest.max(wait::now() - asked);
                        match answer {
                            Ok(()) => return (failed, longest),
                            Err(_) if ends.load(Ordering::Relaxed) => panic!("not served again"),
                            // At once again, as a bad client does.
                            Err(_) => failed += 1,
                        }
                    }
                });
            }
            let mut all = (0_u32, Duration::ZERO);
            while let Some(one) = clients.join_next().await {
                let (failed, longest) = one.unwrap();
                all = (all.0 + failed, all.1.max(longest));
            }
            all
        })
    });
    let before = cpu(process.pid());
    let _ = wait::wait_until(Deadline::seconds(2), || false);
    let used = cpu(process.pid()) - before;
    // The server comes back elsewhere: a change of the configuration, under the storm.
    let text = failure::toml(&[server.addr()], &backend, "");
    std::fs::write(process.config_file(), text).unwrap();
    process.signal(rustix::process::Signal::HUP).unwrap();
    let back = wait::now();
    let _ = wait::wait_until(Deadline::seconds(8), || storm.is_finished());
    let took = wait::now() - back;
    ends.store(true, Ordering::Relaxed);
    let (failed, longest) = storm.join().unwrap();
    eprintln!(
        "{failed} refusals, the slowest after {longest:?}; {used} hundredths of a second of \
         processor time in 2 s; all served {took:?} after the server was back"
    );
    assert!(failed >= 300 && longest < Duration::from_secs(3), "{failed}, {longest:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(process.log().lines().count() < 400, "{} lines of log", process.log().lines().count());
}
