//! Planned changes under load: the address moves between nodes that both work, from one process to the
//! next, and vips come and go, without a failed request.

#[path = "common/vips.rs"]
mod vips;

use std::{
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use highgate_io::handover;
use highgate_testkit::{
    highgate::HighgateProcess,
    wait::{self, Deadline},
};
use rustix::process::Signal;
use vips::{
    BINARY, LISTENER, Node, Seen, VIP, has, holders, lab, last, serve, toml, until_held, vip,
    with_clients,
};

const START: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(2500);
/// Longer than the kernel waits before it repeats a SYN twice: 1 s, then 2 s.
const TWO_SYNS_MORE: Duration = Duration::from_secs(5);

/// Every request was answered, though some had to knock twice.
fn assert_none_failed(what: &str, seen: &Seen, since: Instant) {
    let (count, failed, slow) = seen.totals(Duration::from_millis(900));
    let rate = count as f64 / since.elapsed().as_secs_f64();
    eprintln!("{what}: {count} requests, {rate:.0}/s, {slow} repeated a SYN, failed: {failed:?}");
    assert!(count > 200 && failed.is_empty(), "{what}, of {count}: {failed:?}");
}

/// The better node ends, and comes back by preemption, under so many clients.
fn comes_and_goes(clients: usize) {
    let Some(lab) = lab(3).unwrap() else { return };
    serve(&lab).unwrap();
    let mut one = Node::start(&lab, 1, &toml(100, "")).unwrap();
    let other = Node::start(&lab, 2, &toml(80, "")).unwrap();
    until_held(&lab, 1, START).unwrap();
    other.until("backup").unwrap();
    let begun = wait::now();
    let seen = with_clients(&lab, clients, TWO_SYNS_MORE, |seen| {
        seen.until_answered_by(1, wait::now(), START)?;
        last(Duration::from_millis(500));
        let since = wait::now();
        one.process.signal(Signal::TERM)?;
        let took = until_held(&lab, 2, START)?;
        seen.until_answered_by(2, since, START)?;
        eprintln!("held by the other after {took:?}, an outage of {:?}", seen.outage(since));
        last(Duration::from_millis(500));
        one.process.wait(Deadline::seconds(10))?;
        // Back again, by preemption: nobody ends, and nobody fails either.
        let since = wait::now();
        one = Node::start(&lab, 1, &toml(100, ""))?;
        until_held(&lab, 1, START)?;
        seen.until_answered_by(1, wait::now(), START)?;
        eprintln!("back after {:?}, an outage of {:?}", since.elapsed(), seen.outage(since));
        last(Duration::from_millis(500));
        Ok(())
    });
    assert_none_failed("moved twice", &seen.unwrap(), begun);
    other.until_told(&["asks for the addresses: connections to them end first"]).unwrap();
}

#[test]
fn a_planned_end_and_a_preemption_fail_no_request_of_four_clients() {
    comes_and_goes(4);
}

#[test]
fn a_planned_end_and_a_preemption_fail_no_request_of_ten_clients() {
    comes_and_goes(10);
}

/// Starts a process that takes the place of another, with the settings that lie in that one's file.
fn replace(node: &mut Node<'_>, toml: &str) -> anyhow::Result<()> {
    let first = node.before.first().unwrap_or(&node.process);
    let (file, data) = (first.config_file(), first.folder().join("highgate-data"));
    std::fs::write(&file, toml)?;
    let next = node.host.inside(|| {
        HighgateProcess::start_with(BINARY, toml, |command| {
            *command = std::process::Command::new(BINARY);
            command.arg("run").arg("--replace").arg("--data-dir").arg(&data).arg(&file);
            command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
            command.stderr(std::process::Stdio::piped());
        })
    })??;
    node.process.wait(Deadline::seconds(20))?;
    // Its folder is where the data directory is.
    let before = std::mem::replace(&mut node.process, next);
    node.before.push(before);
    Ok(())
}

#[test]
fn a_replaced_process_keeps_the_address_and_fails_no_request() {
    let Some(lab) = lab(3).unwrap() else { return };
    serve(&lab).unwrap();
    let quick = "version = 3\ninterval = \"300ms\"\n";
    let mut one = Node::start(&lab, 1, &toml(100, quick)).unwrap();
    let other = Node::start(&lab, 2, &toml(80, quick)).unwrap();
    until_held(&lab, 1, START).unwrap();
    other.until("backup").unwrap();
    let keeper = one.pid("vip-keeper").unwrap();
    let begun = wait::now();
    let seen = with_clients(&lab, 4, TWO_SYNS_MORE, |seen| {
        seen.until_answered_by(1, wait::now(), START)?;
        for round in 0..3 {
            // The last one changes something, too.
            let priority = if round == 2 { 120 } else { 100 };
            replace(&mut one, &toml(priority, quick))?;
            seen.until_answered_by(1, wait::now(), START)?;
            anyhow::ensure!(holders(&lab)? == [1], "the address left");
        }
        Ok(())
    });
    assert_none_failed("replaced three times", &seen.unwrap(), begun);
    assert_eq!(one.find("vip-keeper"), Some(keeper), "the keeper goes on");
    wait::eventually(Deadline::seconds(10), "the new priority", || {
        anyhow::ensure!(one.count("priority")? == 120, "{:?}", one.table("vips")?);
        Ok(())
    })
    .unwrap();
    assert_eq!(one.count("became_active").unwrap(), 1);
    assert_eq!(other.count("became_active").unwrap(), 0, "an advert was missed");
    // The last one is watched and watches as the first did.
    one.process.signal(Signal::KILL).unwrap();
    until_held(&lab, 2, SOON).unwrap();
}

#[test]
fn a_new_process_that_dies_on_the_way_leaves_the_address_with_the_old_one() {
    let Some(lab) = lab(3).unwrap() else { return };
    let one = Node::start(&lab, 1, &toml(100, "")).unwrap();
    until_held(&lab, 1, START).unwrap();
    let path = one.process.folder().join("highgate-data/handover.sock");
    let ask = |words: &[&str]| {
        let stream = UnixStream::connect(&path).unwrap();
        let mut heard = (Vec::new(), Vec::new());
        for word in words {
            handover::send(&stream, word.as_bytes(), &[]).unwrap();
            heard = handover::receive(&stream).unwrap();
        }
        (String::from_utf8(heard.0).unwrap(), heard.1)
    };
    let hello = |format: &str| format!(r#"{{"hello":{{"format":{format},"pid":1}}}}"#);
    let (refused, _) = ask(&[&hello("99")]);
    let (_, format) = refused.split_once("in format ").unwrap();
    // It is given the stream to the keeper, and ends without a word.
    let hello = hello(format.split(',').next().unwrap());
    let (released, mut stream) = ask(&[&hello, r#""ready""#]);
    assert!(released.contains("released") && stream.len() == 1, "{released}");
    drop(stream.pop());
    one.until_told(&["the new process failed, this one goes on"]).unwrap();
    // Longer than the keeper bears silence.
    last(Duration::from_secs(2));
    assert_eq!(holders(&lab).unwrap(), [1]);
    assert_eq!(one.count("became_active").unwrap(), 1);
    one.process.signal(Signal::KILL).unwrap();
    wait::eventually(Deadline::seconds(5), "nobody", || {
        anyhow::ensure!(holders(&lab)?.is_empty());
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_process_whose_keepers_are_gone_is_replaced_by_one_with_keepers_of_its_own() {
    let Some(lab) = lab(3).unwrap() else { return };
    let mut one = Node::start(&lab, 1, &toml(100, "")).unwrap();
    until_held(&lab, 1, START).unwrap();
    one.kill_keepers().unwrap();
    one.until_told(&["the processes that keep the addresses are gone"]).unwrap();
    assert_eq!(one.table("vips").unwrap().len(), 0);
    assert!(one.ctl(&["vip", "drain"]).unwrap_err().to_string().contains("keeps no vips"));
    replace(&mut one, &toml(100, "")).unwrap();
    one.until("active").unwrap();
    until_held(&lab, 1, START).unwrap();
}

#[test]
fn a_process_with_vips_takes_the_place_of_one_without() {
    let Some(lab) = lab(3).unwrap() else { return };
    let mut one = Node::start(&lab, 1, LISTENER).unwrap();
    assert_eq!(one.table("vips").unwrap().len(), 0);
    replace(&mut one, &toml(100, "")).unwrap();
    until_held(&lab, 1, START).unwrap();
    one.until("active").unwrap();
    // And one without of one with them: they leave, and whoever waits need not wait for long.
    let other = Node::start(&lab, 2, &toml(80, "")).unwrap();
    other.until("backup").unwrap();
    replace(&mut one, LISTENER).unwrap();
    until_held(&lab, 2, SOON).unwrap();
}

#[test]
fn vips_come_change_and_go_while_the_others_stay_as_they_are() {
    let Some(lab) = lab(3).unwrap() else { return };
    let second = |priority| {
        vip(priority, "router_id = 52\naddresses = \"10.99.0.102\"\n").replace("VI_1", "VI_2")
    };
    let quick = "announce.delay = \"0s\"\n";
    let one = Node::start(&lab, 1, &toml(100, quick)).unwrap();
    let other = Node::start(&lab, 2, &format!("{}{}", toml(80, quick), second(80))).unwrap();
    until_held(&lab, 1, START).unwrap();
    let address = Ipv4Addr::new(10, 99, 0, 102);
    let is_at = |host: u8| {
        wait::eventually(Deadline::seconds(10), "the second address", || {
            let here = has(lab.host(host)?, address)?;
            let there = has(lab.host(3 - host)?, address)?;
            anyhow::ensure!(here && !there, "{here} here, {there} there");
            Ok(())
        })
        .unwrap();
    };
    is_at(2);
    let reload = |text: &str| {
        std::fs::write(one.process.config_file(), text).unwrap();
        one.process.signal(Signal::HUP).unwrap();
    };
    let row = |name: &str| {
        let rows = one.table("vips").unwrap();
        rows.iter().find(|row| row["name"] == name).cloned()
    };
    one.until("active").unwrap();
    let before = row("VI_1").unwrap();
    // It comes, and takes over by rank.
    reload(&format!("{}{}", toml(100, quick), second(100)));
    is_at(1);
    // It changes: the other node outranks it.
    reload(&format!("{}{}", toml(100, quick), second(70)));
    is_at(2);
    reload(&format!("{}{}", toml(100, quick), second(100)));
    is_at(1);
    // It goes, and says so: the other need not wait for three adverts.
    let heard = |node: &Node<'_>| {
        let rows = node.table("vips").unwrap();
        let row = rows.iter().find(|row| row["name"] == "VI_2").unwrap();
        row["resignations_heard"].to_string().parse::<u64>().unwrap()
    };
    let resigned = heard(&other);
    reload(&toml(100, quick));
    is_at(2);
    wait::eventually(Deadline::seconds(5), "its last word", || {
        anyhow::ensure!(heard(&other) > resigned);
        Ok(())
    })
    .unwrap();
    assert_eq!(row("VI_2"), None);
    let after = row("VI_1").unwrap();
    for column in ["state", "became_active", "became_backup", "announced"] {
        assert_eq!(before[column], after[column], "{column}: {before} {after}");
    }
    assert_eq!(holders(&lab).unwrap(), [1]);
    assert!(has(lab.host(1).unwrap(), VIP).unwrap());
}

#[test]
fn ports_below_1024_are_bound_by_the_keeper_also_for_listeners_that_come_later() {
    let Some(lab) = lab(3).unwrap() else { return };
    serve(&lab).unwrap();
    let low = |more: &str| {
        let binds = format!("[\"0.0.0.0:8080\", \"0.0.0.0:80\"{more}]");
        let listener = LISTENER.replace("\"0.0.0.0:8080\"", &binds);
        format!("{listener}{}", vip(100, ""))
    };
    let mut one = Node::start(&lab, 1, &low("")).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", one.process.pid())).unwrap();
    for rights in ["CapEff", "CapPrm", "CapInh"] {
        let line = status.lines().find(|line| line.starts_with(rights)).unwrap();
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
    let answers = |port: u16| {
        let to = std::net::SocketAddr::from((Ipv4Addr::new(10, 99, 0, 1), port));
        let host = lab.host(3).unwrap();
        host.inside(|| std::net::TcpStream::connect_timeout(&to, Duration::from_secs(2)).map(drop))
            .unwrap()
    };
    answers(80).unwrap();
    assert!(answers(443).is_err());
    std::fs::write(one.process.config_file(), low(", \"0.0.0.0:443\"")).unwrap();
    one.process.signal(Signal::HUP).unwrap();
    wait::eventually(Deadline::seconds(10), "the second port", || Ok(answers(443)?)).unwrap();
    // What can't be had is told by the one who tried.
    let bind = || std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 445));
    let _taken = lab.host(1).unwrap().inside(bind).unwrap().unwrap();
    std::fs::write(one.process.config_file(), low(", \"0.0.0.0:443\", \"0.0.0.0:445\"")).unwrap();
    one.process.signal(Signal::HUP).unwrap();
    one.until_told(&["the keeper of the addresses can't bind 0.0.0.0:445"]).unwrap();
    // A process that replaces it has one more, bound by its own keeper.
    replace(&mut one, &low(", \"0.0.0.0:443\", \"0.0.0.0:444\"")).unwrap();
    for port in [80, 443, 444] {
        answers(port).unwrap();
    }
}

#[test]
fn vips_that_come_to_a_process_without_a_keeper_are_refused_and_nothing_changes() {
    let Some(lab) = lab(3).unwrap() else { return };
    let mut one = Node::start(&lab, 1, LISTENER).unwrap();
    let more = toml(100, "").replace("name = \"one\"", "name = \"two\"");
    std::fs::write(one.process.config_file(), &more).unwrap();
    let file = one.process.config_file().display().to_string();
    // By the SQL port and REST it is the same action.
    let told = one.ctl(&["act", "node", "apply", &file]).unwrap_err().to_string();
    let words = ["nothing was changed", "given up the right", "`highgate run --replace`"];
    assert!(words.iter().all(|word| told.contains(word)), "{told}");
    let told = one.ctl(&["act", "node", "compare", &file]).unwrap();
    assert!(told.contains("note: it would be refused"), "{told}");
    one.process.signal(Signal::HUP).unwrap();
    one.until_told(&words[..2]).unwrap();
    let servers = one.table("servers").unwrap();
    assert_eq!(servers[0]["name"], "one", "{servers:?}");
    assert!(one.table("vips").unwrap().is_empty());
    // What it advises works.
    replace(&mut one, &more).unwrap();
    until_held(&lab, 1, START).unwrap();
    // And from then on they come and go by `apply` as well.
    let second = vip(100, "router_id = 52\naddresses = \"10.99.0.102\"\n").replace("VI_1", "VI_2");
    let file = one.before[0].config_file();
    std::fs::write(&file, format!("{more}{second}")).unwrap();
    one.ctl(&["act", "node", "apply", &file.display().to_string()]).unwrap();
    wait::eventually(Deadline::seconds(10), "the second address", || {
        anyhow::ensure!(
            has(lab.host(1)?, Ipv4Addr::new(10, 99, 0, 102))?,
            "{:?}",
            one.table("vips")?
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn admin_ports_below_1024_are_bound_by_the_keeper_also_for_a_process_that_replaces_another() {
    let Some(lab) = lab(3).unwrap() else { return };
    let low = |sql: u16, web: u16| {
        let admin = format!("[admin]\nsql = \"0.0.0.0:{sql}\"\nweb = \"0.0.0.0:{web}\"\n");
        format!("{}{admin}", toml(100, ""))
    };
    let mut one = Node::start(&lab, 1, &low(632, 680)).unwrap();
    let answers = |port: u16| {
        let to = std::net::SocketAddr::from((Ipv4Addr::new(10, 99, 0, 1), port));
        let host = lab.host(3).unwrap();
        host.inside(|| std::net::TcpStream::connect_timeout(&to, Duration::from_secs(2)).map(drop))
            .unwrap()
    };
    answers(632).unwrap();
    answers(680).unwrap();
    // One stays, and goes from process to process; the other is a new one.
    replace(&mut one, &low(632, 681)).unwrap();
    answers(632).unwrap();
    answers(681).unwrap();
    until_held(&lab, 1, START).unwrap();
}
