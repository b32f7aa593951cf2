//! How long one choice takes: `cargo run --release -p highgate-core --example choose_speed`.

use std::{
    error::Error,
    hint::black_box,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use highgate_config::{Address, AdminState, Balance, Server};
use highgate_core::{
    choose::{Request, Turn, choose},
    ramp::Ramp,
    server::{ServerId, ServerKey, ServerState},
    snapshot::{Member, Role, Status},
};

const ROUNDS: u32 = 4_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let now = now();
    let mut out = std::io::stdout().lock();
    for count in [1, 3, 16] {
        for balance in [
            Balance::LeastConnections,
            Balance::RoundRobin,
            Balance::RandomTwo,
            Balance::Fastest,
            Balance::Source,
        ] {
            let members: Vec<Member> = (0..count).map(|id| member(id, now)).collect();
            let nanos = measure(&members, balance, now);
            writeln!(out, "{count:>3} members {balance:?}: {nanos:.1} ns")?;
        }
    }
    let mut members: Vec<Member> = (0..3).map(|id| member(id, now)).collect();
    let over = Duration::from_secs(3600);
    (members.iter_mut()).for_each(|member| member.ramp = Some(Ramp { since: now, over }));
    let nanos = measure(&members, Balance::LeastConnections, now);
    writeln!(out, "  3 members LeastConnections, starting: {nanos:.1} ns")?;
    Ok(())
}

/// The best of five runs, per choice.
fn measure(members: &[Member], balance: Balance, at: Instant) -> f64 {
    let candidates: Vec<usize> = (0..members.len()).collect();
    let request = Request {
        members,
        candidates: &candidates,
        balance,
        key: Some(7),
        exclude: &[],
        max_lag_ms: None,
        full_ok: false,
        writes: false,
        now: at,
    };
    let (mut turn, mut seed) = (Turn::default(), 1_u64);
    let mut rng = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let run = |_| {
        let begin = now();
        for _ in 0..ROUNDS {
            let _ = black_box(choose(black_box(&request), &mut turn, &mut rng));
        }
        begin.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
    };
    (0..5).map(run).fold(f64::MAX, f64::min)
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn now() -> Instant {
    Instant::now()
}

fn member(id: u32, now: Instant) -> Member {
    let name = format!("db{id}");
    let address = Address::Host(name.clone(), 3306);
    let key =
        ServerKey { backend: "shop".into(), name: name.as_str().into(), address: address.clone() };
    Member {
        state: Arc::new(ServerState::new(ServerId(id), key, now)),
        server: Server {
            address,
            weight: 100,
            backup: false,
            max_connections: 100,
            max_lag: None,
            state: AdminState::Enabled,
        },
        role: Role::Member,
        status: Status::Up,
        weight: 100,
        ramp: None,
        lag_ms: Some(0),
        reason: Arc::from("measured"),
    }
}
