//! What is shown of a router.

use super::*;

#[test]
fn the_state_its_age_and_its_reason_are_shown() {
    let mut desk = Desk::started(v2());
    desk.hear(200, 9);
    desk.pass(ms(3_610));
    desk.pass(ms(400));
    let status = desk.router.status(desk.now);
    assert_eq!(status.state, State::Active);
    assert_eq!(whole(Some(status.state_for)), Some(ms(400)));
    assert_eq!(status.why, "no advert of 10.0.0.9 that counts for 3609 ms");
    assert_eq!(status.active, Some(node(5, true)));
}

#[test]
fn peers_are_shown_with_their_adverts_by_kind() {
    let mut desk = Desk::started(v2());
    desk.hear(200, 9);
    desk.hear(200, 9);
    desk.hear(RESIGNS, 9);
    desk.pass(ms(200));
    let peers = desk.router.status(desk.now).peers;
    assert_eq!(peers.len(), 1);
    assert_eq!(peers[0].address, node(9, true));
    assert_eq!((peers[0].adverts, peers[0].resignations, peers[0].refused), (3, 1, 0));
    assert_eq!((peers[0].priority, peers[0].heard_ago), (Some(RESIGNS), ms(200)));
}

#[test]
fn a_peer_of_the_same_rank_is_told_once_and_shown() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        let own = desk.router.priority();
        desk.hear(own + 1, 9);
        assert!(desk.told(Kind::EqualPriority).is_empty());
        desk.hear(own, 9);
        desk.hear(own, 9);
        let told = desk.told(Kind::EqualPriority);
        assert!(told.len() == 1 && told[0].contains("has priority 100, as this node"), "{told:?}");
        let remark = |desk: &Desk| desk.router.status(desk.now).peers[0].remark.clone();
        assert!(remark(&desk).unwrap().contains("the greater address prevails"));
        desk.hear(own - 1, 9);
        assert_eq!(remark(&desk), None, "it was given another one");
    });
}

#[test]
fn transitions_and_adverts_are_counted() {
    let mut desk = Desk::active(v2());
    desk.hear(50, 1);
    desk.hear(200, 9);
    desk.lose(Need::Serving);
    let counts = desk.router.status(desk.now).counts;
    assert_eq!((counts.became_active, counts.became_backup, counts.became_fault), (1, 2, 1));
    assert_eq!((counts.heard, counts.heard_lower, counts.heard_resignations), (2, 1, 0));
}

#[test]
fn what_is_missing_is_shown_with_its_reason() {
    let mut desk = Desk::active(v2());
    desk.lose(Need::Serving);
    let status = desk.router.status(desk.now);
    assert_eq!(status.unmet.get(&Need::Serving).map(String::as_str), Some("because"));
    assert_eq!((status.state, status.why.as_str()), (State::Fault, "because"));
}

#[test]
fn a_status_crosses_processes() {
    let mut desk = Desk::active(v2());
    desk.hear(50, 1);
    let status = desk.router.status(desk.now);
    let text = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<crate::Status>(&text).unwrap(), status);
}

#[test]
fn settings_cross_processes_and_keep_their_password() {
    let settings = Settings { password: Some(advert::Password::new("1111")), ..v2() };
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
}
