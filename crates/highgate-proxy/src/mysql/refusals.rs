//! What operators are told of commands that Highgate refused or ended. Nothing here is on the way
//! of a command that is fine.

use std::sync::atomic::Ordering;

use highgate_config::BackendName;
use highgate_core::{
    events::{Event, Kind, Severity},
    pins::PinSet,
    route::{Reason, RouteRefused},
    server::ServerState,
};
use highgate_mysql::{
    Answer,
    command::{COM_STMT_CLOSE, is_unanswered, opcode_name},
    error_code,
    packet::HEADER_LEN,
};

use crate::{
    mysql::{acquire::Lease, client_stream::Framed, kill, session::Session},
    session::Ending,
};

impl Session<'_> {
    /// Counts a command that is answered with an error of our own.
    pub(crate) fn count_refused(&self) {
        self.listener.refused_commands.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells operators that a command for that backend was refused.
    pub(crate) fn note_refused(&self, backend: &BackendName, why: &str) {
        self.tell(self.refusal(Severity::Warning, why).backend(backend));
    }

    /// Tells operators that a command was refused before it was for any backend.
    pub(crate) fn note_refused_here(&self, severity: Severity, why: &str) {
        self.tell(self.refusal(severity, why));
    }

    /// A command is longer than allowed: operators are told, and so is the client.
    pub(crate) fn too_long(&self) -> Answer {
        let why = "it is larger than `max_allowed_packet`";
        self.note_refused_here(Severity::Warning, why);
        error_code::ER_NET_PACKET_TOO_LARGE
            .answer("Got a packet bigger than 'max_allowed_packet' bytes")
    }

    /// Refuses a command that was not looked into.
    ///
    /// Cancel safe: no; the client's connection must be closed.
    pub(crate) async fn refuse(&mut self, refusal: &Answer, framed: Framed) -> Result<(), Ending> {
        let payload = self.client.inbox.bytes().get(HEADER_LEN..framed.wire);
        let command = payload.and_then(|payload| payload.first().copied());
        let ending = unanswered(refusal, command);
        if ending.is_none() || !is_of_form(refusal) {
            self.answer_error(refusal, framed).await?;
        } else if command == Some(COM_STMT_CLOSE) {
            // Servers pass over it.
            return Ok(());
        }
        ending.map_or(Ok(()), Err)
    }

    /// Tells operators that a command was not routed anywhere.
    pub(crate) fn note_not_routed(&self, refused: &RouteRefused) {
        // Those of a drain are its expected course, those of a rule are meant, and servers say others.
        let severity = match refused {
            RouteRefused::Draining | RouteRefused::NoPlainOk { .. } | RouteRefused::NoSchema => {
                Severity::Info
            }
            _ => Severity::Warning,
        };
        self.note_refused_here(severity, &refused.to_string());
    }

    /// Tells operators that a rule refused a command, as it is meant to.
    pub(crate) fn note_refused_by_rule(&self, reason: Reason) {
        self.note_refused_here(Severity::Info, &format!("{reason} (`error_msg`)"));
    }

    /// Tells operators that a transaction went with its connection.
    pub(crate) fn note_transaction_lost(&self, server: Option<&ServerState>) {
        if !self.answers {
            // With the command by which its client is told.
            return;
        }
        let name = &self.listener.name;
        let text = format!(
            "listener {name}: a transaction was rolled back: its server connection was lost"
        );
        self.tell(at(Event::new(Severity::Warning, Kind::Refusal, text), server));
    }

    /// Tells operators what became of a session that waits for its client.
    pub(crate) fn note_parted(&self, server: &ServerState, pins: PinSet) {
        let text = format!(
            "listener {}: an idle session's connection was closed, since its server was set apart or \
             replaced, and with it {pins}; its next command is told",
            self.listener.name
        );
        self.tell(at(Event::new(Severity::Warning, Kind::Refusal, text), Some(server)));
    }

    /// Tells operators that a command failed with its connection.
    pub(crate) fn note_failed(&self, server: &ServerState, why: &str) {
        let text = format!("listener {}: a command failed: {why}", self.listener.name);
        self.tell(at(Event::new(Severity::Warning, Kind::Refusal, text), Some(server)));
    }

    /// Tells operators that a session can't leave a server that takes no writes any more.
    pub(crate) fn note_bound(&self, server: &ServerState, pins: PinSet) {
        let text = format!(
            "listener {}: writes of a session are refused until it connects anew: its server takes none \
             any more, and it is bound there by {pins}",
            self.listener.name
        );
        self.tell(at(Event::new(Severity::Warning, Kind::Refusal, text), Some(server)));
    }

    /// Tells operators that a session goes on without its insert id.
    pub(crate) fn note_id_lost(&self, lease: &Lease, why: &str) {
        let text = format!(
            "listener {}: the LAST_INSERT_ID() of a session is lost, which ends if it asks for it: {why}",
            self.listener.name
        );
        let server = lease.connection.server();
        self.tell(at(Event::new(Severity::Warning, Kind::Refusal, text), Some(server)));
    }

    /// Tells operators that a client with the right password was not let in.
    pub(crate) fn note_login_refused(&self, why: &str) {
        let (name, user) = (&self.listener.name, &self.login.user);
        let text = format!("listener {name}: a login of `{user}` was refused: {why}");
        self.tell(Event::new(Severity::Warning, Kind::Login, text));
    }

    /// Counts a statement that took too long, and tells operators.
    pub(crate) fn note_timed_out(&self, lease: &Lease) {
        self.listener.timed_out_statements.fetch_add(1, Ordering::Relaxed);
        let text = format!(
            "listener {}: a statement was ended: it took longer than `query_timeout`, or a rule's \
             `timeout`, allows",
            self.listener.name
        );
        let event = Event::new(Severity::Warning, Kind::Limit, text);
        self.tell(at(event, Some(lease.connection.server())));
    }

    /// Tells operators that a statement goes on although it was told to end.
    pub(crate) fn note_never_ended(&self, lease: &Lease) {
        let text = "a statement was told to end and did not; its connection is given up";
        let event = Event::new(Severity::Warning, Kind::Kill, text);
        self.tell(at(event, Some(lease.connection.server())));
    }

    /// Tells operators that a statement can't be ended where it runs.
    pub(crate) fn note_not_ended(&self, lease: &Lease, why: &str) {
        let session = self.context.presence.info.id;
        let event = kill::not_ended(lease.connection.server(), session, why);
        self.context.worker.shared.event_limited(event);
    }

    fn refusal(&self, severity: Severity, why: &str) -> Event {
        let text = format!("listener {}: a command was refused: {why}", self.listener.name);
        Event::new(severity, Kind::Refusal, text)
    }

    fn tell(&self, event: Event) {
        let session = self.context.presence.info.id;
        self.context.worker.shared.event_limited(event.session(session));
    }
}

fn at(event: Event, server: Option<&ServerState>) -> Event {
    match server {
        Some(server) => event.backend(&server.backend).server(&server.name),
        None => event,
    }
}

/// The ending of a session whose `command` was refused, where that has no answer: what it was told is read as
/// that of its next command, as servers have it, which close behind it.
pub(crate) fn unanswered(refusal: &Answer, command: Option<u8>) -> Option<Ending> {
    let name = command.filter(|&command| is_unanswered(command)).and_then(opcode_name)?;
    Some(if is_of_form(refusal) {
        Ending::ClientProtocol(format!("its {name} is shorter than its header"))
    } else if refusal.code == error_code::ER_NET_PACKET_TOO_LARGE.code {
        Ending::ClientProtocol(format!("its {name} is larger than `max_allowed_packet`"))
    } else {
        Ending::Refused(format!("its {name}: {}", refusal.text))
    })
}

/// Whether it says that a command is malformed.
const fn is_of_form(refusal: &Answer) -> bool {
    refusal.code == error_code::ER_UNKNOWN_COM_ERROR.code
}
