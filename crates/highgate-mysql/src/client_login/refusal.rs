//! How a login is refused, and in which words.

use super::{Barred, ClientAction, ClientLogin, State};
use crate::{
    capability::ServerFlavor,
    error_code::{
        Answer, ER_ACCESS_DENIED_ERROR, ER_ACCOUNT_HAS_BEEN_LOCKED, ER_ACCOUNT_LOCKED,
        ER_MUST_CHANGE_PASSWORD_LOGIN, ER_NOT_SUPPORTED_AUTH_MODE, ER_SECURE_TRANSPORT_REQUIRED,
    },
};

impl ClientLogin {
    pub(super) fn refuse(&mut self, answer: Answer) -> ClientAction {
        self.state = State::Ended;
        ClientAction::Refused { answer, seq: self.seq }
    }

    pub(super) fn barred(&self, barred: &Barred) -> Answer {
        match barred {
            Barred::Denied => self.denied(),
            Barred::Locked(ServerFlavor::MySql) => ER_ACCOUNT_HAS_BEEN_LOCKED
                .answer(format!("Access denied for user {}. Account is locked.", self.who())),
            Barred::Locked(_) => ER_ACCOUNT_LOCKED.answer("Access denied, this account is locked"),
            Barred::PasswordExpired => ER_MUST_CHANGE_PASSWORD_LOGIN.answer(
                "Your password has expired. To log in you must change it using a client that \
                 supports expired passwords",
            ),
        }
    }

    /// One text for a wrong password, an unknown user and an account that needs TLS.
    pub(super) fn denied(&self) -> Answer {
        let password = if self.gave_password { "YES" } else { "NO" };
        ER_ACCESS_DENIED_ERROR
            .answer(format!("Access denied for user {} (using password: {password})", self.who()))
    }

    pub(super) fn who(&self) -> String {
        let user = self.login.as_ref().map_or("", |login| login.user.as_str());
        format!("'{user}'@'{}'", self.settings.client_host)
    }
}

pub(super) fn unsupported() -> Answer {
    ER_NOT_SUPPORTED_AUTH_MODE
        .answer("Client does not support authentication protocol requested by server")
}

pub(super) fn tls_required() -> Answer {
    ER_SECURE_TRANSPORT_REQUIRED
        .answer("Connections using insecure transport are prohibited by this listener")
}
