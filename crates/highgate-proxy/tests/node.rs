//! The life of a node: what its end does to who is connected.

use std::{
    io::Read as _,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use highgate_config::{NodeName, native};
use highgate_proxy::node::{Node, Settings};
use highgate_testkit::scratch::Scratch;

#[test]
fn a_node_that_is_stopped_undrained_ends_its_sessions_and_itself() {
    let scratch = Scratch::new("node").unwrap();
    let path = scratch.path().join("shop.sock");
    let name = NodeName::from("main");
    let text = format!(
        "workers = 2\n[[listener]]\nname = \"shop\"\nbind = \"unix:{}\"\nbackend = \"shop\"\n\
         [[backend]]\nname = \"shop\"\n[[user]]\nname = \"app\"\npassword = \"app\"\n",
        path.display()
    );
    let config = native::parse("node", &text, &name).unwrap().config;
    let node = Node::start(Settings { name, number: 0, workers: 2 }).unwrap();
    node.apply(&config).unwrap();
    // Clients that are greeted and say nothing.
    let mut clients: Vec<UnixStream> =
        (0..5).map(|_| UnixStream::connect(&path).unwrap()).collect();
    for client in &mut clients {
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut head = [0; 4];
        client.read_exact(&mut head).unwrap();
    }
    let began = Instant::now();
    node.stop();
    // Their time for the login is ten seconds; without an end by the node it would be waited for.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    for client in &mut clients {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
    }
    assert!(UnixStream::connect(&path).is_err());
}
