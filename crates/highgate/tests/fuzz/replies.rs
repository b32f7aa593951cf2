//! What a server answers in each phase, made wrong.

use highgate_testkit::scripted::{
    Command, Reply,
    wire::{self, AUTOCOMMIT, MORE_RESULTS},
};

use crate::{
    mutate::{Frame, frames, is_whole, mutate},
    random::Random,
};

/// A word of each statement that is answered wrongly; its seed follows.
pub(crate) const VICTIM: &str = "victim";

/// The seed of a statement that is to be answered wrongly.
fn seed(command: &Command) -> Option<u64> {
    let text = command.text();
    let (_, rest) = text.split_once(VICTIM)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The answer to such a statement; nothing for others.
pub(crate) fn wrong(command: &Command, is_new: bool) -> Option<Reply> {
    let seed = seed(command)?;
    let mut random = Random::new(seed);
    let packets = match command.code {
        0x03 => text(&mut random, is_new),
        0x16 => {
            let names = |count: usize| vec!["n".to_owned(); count];
            wire::prepared(7, &names(1 + random.below(3)), &names(random.below(4)), is_new)
        }
        0x17 => result(AUTOCOMMIT, &[b"\0\0\x04word".to_vec()], is_new),
        _ => return None,
    };
    Some(spoilt(&mut random, &frames(&wire::frames(1, &packets))))
}

/// What a connection gets in place of the greeting, or of the OK to its login.
pub(crate) fn opening(seed: u64, is_greeting: bool) -> Reply {
    let mut random = Random::new(seed);
    let (seq, payload) = match random.below(3) {
        _ if is_greeting => (0, wire::greeting("5.5.5-10.11.19-MariaDB", 7, true)),
        0 => (2, wire::ok(AUTOCOMMIT)),
        1 => (2, b"\xfemysql_native_password\0abcdefghijklmnopqrst\0".to_vec()),
        _ => (2, wire::err(1045, "28000", "Access denied")),
    };
    spoilt(&mut random, &[Frame::new(seq, payload)])
}

fn result(status: u16, rows: &[Vec<u8>], is_new: bool) -> Vec<Vec<u8>> {
    wire::result(status, &["n".to_owned()], rows, is_new)
}

/// Every form that the answer to a text has.
fn text(random: &mut Random, is_new: bool) -> Vec<Vec<u8>> {
    let row = b"\x04word".to_vec();
    match random.below(8) {
        0 => vec![wire::ok(AUTOCOMMIT)],
        1 => vec![wire::err(1064, "42000", "You have an error")],
        2 => result(AUTOCOMMIT, &[], is_new),
        3 => result(AUTOCOMMIT, &vec![row; 50], is_new),
        4 => {
            let names: Vec<_> = (0..9).map(|at| format!("c{at}")).collect();
            wire::result(AUTOCOMMIT, &names, &[[0xfb; 9].to_vec()], is_new)
        }
        5 => {
            let first = result(AUTOCOMMIT | MORE_RESULTS, std::slice::from_ref(&row), is_new);
            [first, vec![wire::ok(AUTOCOMMIT)]].concat()
        }
        // A change of the schema and of a variable, as servers report them.
        6 => {
            let changes = b"\x01\x05\x04shop\x00\x10\x0aautocommit\x02ON";
            let [low, high] = (AUTOCOMMIT | 0x4000).to_le_bytes();
            vec![
                [&[0, 0, 0, low, high, 0, 0, 0], &wire::lenenc(changes.len() as u64)[..], changes]
                    .concat(),
            ]
        }
        _ => result(AUTOCOMMIT, &[row], is_new),
    }
}

/// Where packets are cut, nothing else follows: the end, or now and then not even that. A server that
/// hangs behind a whole answer would be no liar, and those that ask it next would have to wait.
fn spoilt(random: &mut Random, frames: &[Frame]) -> Reply {
    let bytes = mutate(random, frames);
    let (len, is_cut) = (bytes.len(), !is_whole(&bytes));
    let reply = Box::new(Reply::Bytes(bytes));
    match random.below(16) {
        0 if is_cut => Reply::HangAfter(len, reply),
        1..=4 => Reply::CloseAfter(len, reply),
        _ if is_cut => Reply::CloseAfter(len, reply),
        _ => *reply,
    }
}
