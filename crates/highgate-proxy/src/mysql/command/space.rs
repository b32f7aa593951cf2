//! What a command needs while it runs, and what is known of it then.

use std::{rc::Rc, sync::Arc};

use highgate_core::{
    state::Shape,
    track::{CommandFacts, CommandKind},
};
use highgate_mysql::sql::{LexMode, Scratch};

use crate::{
    buffer::{BufferPool, Held},
    mysql::exchange::Space,
};

/// What a command needs while it runs; pooled per worker.
#[derive(Debug)]
pub(crate) struct CommandSpace {
    pub(crate) scratch: Scratch,
    pub(crate) texts: Texts,
    pub(crate) rest: RestSpace,
}

/// What of a command's texts is needed after it was sent: from then on the inbox may move.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    pub(super) text: Vec<u8>,
    pub(super) prepared: Option<Arc<[u8]>>,
    /// Values of an execution, from the NULL bitmap on and with types.
    pub(super) values: Vec<u8>,
    pub(super) schema_used: Vec<u8>,
}

/// What is known of a command, but for its texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(super) command: CommandKind,
    pub(super) shape: Shape,
    pub(super) statement: Option<u32>,
    pub(super) opens_cursor: bool,
    pub(super) mode: LexMode,
    pub(super) text: TextIs,
    pub(super) uses_schema: bool,
}

impl Known {
    /// Of these facts, and what is kept of their texts.
    pub(super) const fn of(facts: &CommandFacts<'_>, text: TextIs) -> Self {
        Self {
            command: facts.command,
            shape: facts.shape,
            statement: facts.statement,
            opens_cursor: facts.opens_cursor,
            mode: facts.mode,
            text,
            uses_schema: facts.schema_used.is_some(),
        }
    }

    /// Whether the text of its prepared statement is needed while it runs.
    pub(super) fn needs_prepared(&self) -> bool {
        self.text == TextIs::Prepared
    }

    /// Which command.
    pub(crate) const fn command(&self) -> CommandKind {
        self.command
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextIs {
    Kept,
    NotNeeded,
    Prepared,
}

impl Texts {
    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        let Self { text, prepared, values, schema_used } = self;
        text.is_empty() && prepared.is_none() && values.is_empty() && schema_used.is_empty()
    }

    /// Keeps aside what is needed of the text that a command `brought`; says where its text lies from
    /// then on.
    pub(super) fn keep(
        &mut self,
        facts: &CommandFacts<'_>,
        brought: Option<&[u8]>,
        instead: Option<&[u8]>,
    ) -> TextIs {
        let prepares = facts.command == CommandKind::StmtPrepare;
        let keeps = facts.keep_text() || prepares || facts.command == CommandKind::InitDb;
        // Who prepares it again has to do so with what servers have prepared.
        let kept = if prepares { instead.or(brought) } else { brought };
        kept.filter(|_| keeps).unwrap_or_default().clone_into(&mut self.text);
        facts.schema_used.unwrap_or_default().clone_into(&mut self.schema_used);
        match (brought, facts.text) {
            (Some(_), _) if keeps => TextIs::Kept,
            (None, Some(_)) if keeps => TextIs::Prepared,
            _ => TextIs::NotNeeded,
        }
    }

    /// All that is known of a command.
    pub(crate) fn facts(&self, known: &Known) -> CommandFacts<'_> {
        CommandFacts {
            shape: known.shape,
            text: match known.text {
                TextIs::Kept => Some(&self.text),
                TextIs::NotNeeded => None,
                TextIs::Prepared => self.prepared.as_deref(),
            },
            values: (!self.values.is_empty()).then_some(&*self.values),
            statement: known.statement,
            opens_cursor: known.opens_cursor,
            schema_used: known.uses_schema.then_some(&*self.schema_used),
            mode: known.mode,
            ..CommandFacts::bare(known.command)
        }
    }
}

/// The part that is used while an analysis holds the scratch.
#[derive(Debug)]
pub(crate) struct RestSpace {
    pub(crate) exchange: Space,
    pub(crate) steps: Vec<highgate_core::prepare::Step>,
    /// Payload of a command of several packets, in one piece.
    pub(crate) joined: Vec<u8>,
    /// Its size, under `memory_limit`.
    pub(super) joined_held: Held,
}

impl CommandSpace {
    pub(crate) fn new(pool: Rc<BufferPool>) -> Self {
        let joined_held = pool.counter();
        let exchange = Space::new(pool);
        let rest = RestSpace { exchange, steps: Vec::new(), joined: Vec::new(), joined_held };
        Self { scratch: Scratch::new(), texts: Texts::default(), rest }
    }

    /// Whether nothing of a command is kept in it.
    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.rest.joined.is_empty()
    }

    /// Gives back what is only needed while a command runs, and what grew large.
    pub(crate) fn rest(&mut self) {
        const LARGE: usize = 64 * 1024;
        let (texts, rest) = (&mut self.texts, &mut self.rest);
        rest.exchange.buffer.consume(usize::MAX);
        rest.exchange.buffer.rest();
        rest.steps.clear();
        texts.prepared = None;
        let changes = &mut rest.exchange.changes;
        let Texts { text, values, schema_used, .. } = texts;
        for memory in [text, values, schema_used, &mut rest.joined, changes] {
            memory.clear();
            if memory.capacity() > LARGE {
                *memory = Vec::new();
            }
        }
        rest.joined_held.set(rest.joined.capacity());
    }
}
