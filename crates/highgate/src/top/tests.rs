use super::{frame::*, sample::*, text, view::*};

fn server(name: &str, role: &str, status: &str, commands: u64) -> Server {
    Server {
        backend: "shop".into(),
        name: name.into(),
        role: Some(role.into()),
        status: status.into(),
        lag_ms: (role == "replica").then_some(12.0),
        opened: 12,
        leased: 3,
        commands,
        latency_us: Some(431),
        ..Server::default()
    }
}

fn event(time: u64, severity: &str, server: &str, text: &str) -> Event {
    let (backend, server) = (Some("shop".into()), Some(server.into()));
    Event { time, severity: severity.into(), backend, server, text: text.into() }
}

fn session(id: u64, user: &str, commands: u64) -> Session {
    Session {
        id,
        user: Some(user.into()),
        client: Some("10.0.0.9:41000".into()),
        server: Some("db1".into()),
        state: Some("executing".into()),
        seconds: Some(0.25),
        commands,
        pinned_by: Some("transaction".into()),
    }
}

fn digest(digest: &str, text: &str, commands: u64, time_us: u64) -> Digest {
    Digest { digest: digest.into(), digest_text: text.into(), commands, errors: 0, time_us }
}

/// A shop with a dead replica, one second after another look at it.
fn samples() -> (Sample, Sample) {
    let dead = || Server {
        latency_us: None,
        lag_ms: None,
        reason: Some("no answer to 2 checks in a row: timed out after 1s".into()),
        ..server("db3", "replica", "down", 77)
    };
    let listener = Listener {
        name: "shop".into(),
        mode: "mysql".into(),
        address: "0.0.0.0:6033".into(),
        backend: "shop".into(),
        clients: 120,
        accepted: 1000,
        ..Listener::default()
    };
    let before = Sample {
        node: Node {
            name: "main".into(),
            version: "0.1.0".into(),
            pid: 7,
            uptime_seconds: 7384,
            config_version: 3,
            clients: 120,
            max_clients: 9968,
            draining: 0,
        },
        servers: vec![
            server("db1", "primary", "up", 1000),
            server("db2", "replica", "up", 500),
            dead(),
        ],
        listeners: vec![listener.clone()],
        sessions: vec![session(1, "app", 100), session(2, "report", 40)],
        digests: vec![
            digest("0x1", "SELECT name FROM customer WHERE id=?", 10_000, 4_000_000),
            digest("0x2", "UPDATE stock SET count=count-? WHERE id=?", 900, 900_000),
            digest("0x3", "SELECT ?", 70, 700),
        ],
        events: vec![event(45_296_000, "info", "db1", "is primary: the only writable server")],
        all_sessions: 120,
    };
    let mut now = before.clone();
    now.servers =
        vec![server("db1", "primary", "up", 2500), server("db2", "replica", "up", 9012), dead()];
    now.servers[2].lost = 4;
    now.listeners = vec![Listener { accepted: 1007, login_failures: 3, ..listener }];
    now.sessions = vec![session(1, "app", 150), session(2, "report", 440), session(3, "new", 9)];
    now.digests[0] =
        digest("0x1", "SELECT name FROM customer WHERE id=?", 19_512, 4_000_000 + 3_900_000);
    now.digests[1] = digest("0x2", "UPDATE stock SET count=count-? WHERE id=?", 1_400, 6_400_000);
    now.digests[1].errors = 3;
    now.digests.push(digest("0x4", "DELETE FROM basket WHERE owner=?", 1, 90));
    now.events.push(event(45_299_500, "error", "db3", "down: no answer to 2 checks in a row"));
    (before, now)
}

fn drawn(size: Size, has_colour: bool) -> Vec<String> {
    let (before, now) = samples();
    let view = View::new(Some(&before), &now, 1.0, Sort::Name);
    let keys = Some("q quit");
    frame(&view, &Look { size, has_colour, wall_ms: 45_300_000, state: "live", keys })
}

fn golden(name: &str, lines: &[String]) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../tests/golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, lines.join("\n")));
}

#[test]
fn a_wide_screen_shows_everything() {
    golden("top_wide", &drawn(Size { columns: 120, rows: Some(30) }, false));
}

#[test]
fn a_usual_screen_leaves_out_what_is_spare() {
    golden("top_usual", &drawn(Size { columns: 80, rows: Some(24) }, false));
}

#[test]
fn colours_say_no_more_than_words() {
    golden("top_colour", &drawn(Size { columns: 100, rows: Some(24) }, true));
}

#[test]
fn no_frame_is_larger_than_its_screen() {
    for columns in 1..140 {
        for rows in [1, 2, 3, 5, 8, 13, 21, 34] {
            let lines = drawn(Size { columns, rows: Some(rows) }, false);
            assert!(lines.len() <= rows, "{columns}x{rows}: {lines:?}");
            let widest = lines.iter().map(|line| text::width(line)).max().unwrap_or(0);
            assert!(widest <= columns, "{columns}x{rows}: {widest}: {lines:#?}");
        }
    }
}

#[test]
fn a_frame_without_a_bound_shows_all_rows() {
    let lines = drawn(Size { columns: 200, rows: None }, false);
    for wanted in ["db3", "report", "is primary", "0.0.0.0:6033"] {
        assert!(lines.iter().any(|line| line.contains(wanted)), "{wanted}: {lines:#?}");
    }
}

#[test]
fn a_name_steers_no_terminal() {
    let (before, mut now) = samples();
    now.sessions[0].user = Some("\u{1b}[2Jevil\u{202e}\r\n".into());
    let view = View::new(Some(&before), &now, 1.0, Sort::Name);
    let size = Size { columns: 120, rows: Some(40) };
    let look = Look { size, has_colour: false, wall_ms: 0, state: "live", keys: None };
    let lines = frame(&view, &look).join("\n");
    assert!(lines.contains("·[2Jevil···") && !lines.contains('\u{1b}'), "{lines}");
}

#[test]
fn rates_are_unknown_after_a_restart_and_before_a_second_look() {
    let (before, mut now) = samples();
    assert_eq!(View::new(None, &now, 0.0, Sort::Name).commands, None);
    assert_eq!(View::new(Some(&before), &now, 2.0, Sort::Name).commands, Some(5006.0));
    now.node.pid = 8;
    let view = View::new(Some(&before), &now, 1.0, Sort::Name);
    assert_eq!((view.commands, view.servers[0].1), (None, ServerRates::default()));
}

/// As it came among those that are looked at, all that a form or a session had ever done was the work of one second.
#[test]
fn what_was_not_looked_at_before_has_no_rate_where_not_everything_was() {
    let (mut before, mut now) = samples();
    let late = || digest("0x9", "SELECT late", 100_000, 9_000_000);
    let crowd = (0..200).map(|at| digest(&format!("0xA{at}"), "SELECT ?", 1, 1));
    before.digests = crowd.collect();
    now.digests = vec![late()];
    now.sessions = vec![session(77, "late", 100_000)];
    let view = View::new(Some(&before), &now, 1.0, Sort::Name);
    assert!(view.digests.is_empty());
    assert_eq!(view.sessions[0].1, Some(100_000.0), "it came since");
    before.sessions = (1000..2000).map(|id| session(id, "crowd", 1)).collect();
    before.digests.pop();
    let view = View::new(Some(&before), &now, 1.0, Sort::Name);
    assert_eq!(view.sessions[0].1, None);
    assert!((view.digests[0].1.commands - 100_000.0).abs() < 0.1, "all were looked at");
}

#[test]
fn servers_are_ordered_as_asked_and_the_busiest_session_is_first() {
    let (before, now) = samples();
    let first = |sort| {
        let view = View::new(Some(&before), &now, 1.0, sort);
        assert_eq!(view.sessions[0].0.user.as_deref(), Some("report"));
        view.servers[0].0.name.clone()
    };
    assert_eq!(first(Sort::Name), "db1");
    assert_eq!(first(Sort::Commands), "db2");
    assert_eq!(first(Sort::Errors), "db3");
    assert_eq!(first(Sort::Latency), "db1");
    let mut sort = Sort::Name;
    for _ in 0..4 {
        sort = sort.next();
    }
    assert_eq!(sort, Sort::Name);
}

#[test]
fn wide_letters_count_twice() {
    assert_eq!((text::width("日本"), text::fit("日本語", 5)), (4, "日本…".to_owned()));
    assert_eq!(
        (text::fit("日本語", 4), text::padded("é", 3)),
        ("日…".to_owned(), "é  ".to_owned())
    );
}

#[test]
fn keys_are_known_and_others_do_nothing() {
    use super::keys::Key;
    for (bytes, key) in [
        (&b"q"[..], Some(Key::Quit)),
        (b"\x03", Some(Key::Quit)),
        (b"\x1b", Some(Key::Quit)),
        (b"p", Some(Key::Pause)),
        (b"s", Some(Key::Sort)),
        (b" ", Some(Key::Refresh)),
        (b"\x1b[A", None),
        (b"x", None),
        (b"", None),
    ] {
        assert_eq!(Key::of(bytes), key, "{bytes:?}");
    }
}

#[test]
fn a_server_that_serves_too_little_for_its_status_is_marked() {
    let (_, mut now) = samples();
    for (status, mark) in
        [("up", None), ("starting", None), ("held", Some("33")), ("broken", Some("31;1"))]
    {
        now.servers = vec![server("db1", "primary", status, 1000)];
        let view = View::new(None, &now, 1.0, Sort::Name);
        let size = Size { columns: 120, rows: None };
        let look = Look { size, has_colour: true, wall_ms: 0, state: "live", keys: None };
        let lines = frame(&view, &look);
        let line = lines.iter().find(|line| line.contains("/db1")).unwrap();
        for code in ["33", "31;1"] {
            let is_marked = line.contains(&format!("\x1b[{code}m"));
            assert_eq!(is_marked, mark == Some(code), "{status}: {line:?}");
        }
        let serving = if mark.is_none() { "servers up 1 of 1" } else { "servers up 0 of 1" };
        assert!(lines.iter().any(|line| line.contains(serving)), "{status}: {lines:?}");
    }
}
