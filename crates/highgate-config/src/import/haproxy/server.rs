//! The words of `server` and `default-server`.

use std::time::Duration;

use super::{
    lexer::Word,
    proxy::Given,
    reader::{number, time},
};
use crate::{
    Address, SendProxy,
    piece::Span,
    settings::{Mistake, Value},
};

/// A `server` as far as it was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) at: Span,
    pub(super) address: Given<Address>,
    pub(super) is_checked: bool,
    pub(super) inter: Given<Duration>,
    pub(super) rise: Given<u32>,
    pub(super) fall: Given<u32>,
    pub(super) weight: Given<u32>,
    pub(super) maxconn: Given<u32>,
    pub(super) slowstart: Given<Duration>,
    pub(super) send_proxy: Given<SendProxy>,
    pub(super) is_backup: bool,
    pub(super) is_disabled: bool,
    /// A word of it could not be read.
    pub(super) is_odd: bool,
}

impl Server {
    /// Whether an honoured word has a value.
    pub(super) fn has_value(name: &str) -> bool {
        ["fall", "inter", "maxconn", "rise", "slowstart", "weight"].contains(&name)
    }

    /// Takes an honoured word with its value.
    pub(super) fn take(
        &mut self,
        name: &str,
        word: &Word,
        value: Option<&Word>,
    ) -> Result<(), (Span, Mistake)> {
        let at = value.map_or_else(|| word.at.clone(), |value| value.at.clone());
        let text = match value {
            Some(value) => value.text.as_str(),
            None if Self::has_value(name) => {
                let what = format!("`{name}` has no value");
                return Err((at, Mistake { what, ..Mistake::default() }));
            }
            None => "",
        };
        let count = |min, max| number(name, min, max, text).map(Value::count);
        let done: Result<(), Mistake> = match name {
            "fall" => count(1, 100).map(|it| self.fall = Some((it, at.clone()))),
            "rise" => count(1, 100).map(|it| self.rise = Some((it, at.clone()))),
            "weight" => count(0, 256).map(|it| self.weight = Some((it, at.clone()))),
            "maxconn" => count(0, 100_000).map(|it| self.maxconn = Some((it, at.clone()))),
            "inter" => time(text).map(|it| self.inter = Some((it.duration(), at.clone()))),
            "slowstart" => time(text).map(|it| self.slowstart = Some((it.duration(), at.clone()))),
            _ => {
                self.flag(name, &at);
                Ok(())
            }
        };
        done.map_err(|mistake| (at, mistake))
    }

    fn flag(&mut self, name: &str, at: &Span) {
        match name {
            "backup" => self.is_backup = true,
            "check" => self.is_checked = true,
            "disabled" => self.is_disabled = true,
            "enabled" => self.is_disabled = false,
            "no-check" => self.is_checked = false,
            "send-proxy" => self.send_proxy = Some((SendProxy::V1, at.clone())),
            "send-proxy-v2" => self.send_proxy = Some((SendProxy::V2, at.clone())),
            _ => {}
        }
    }
}
