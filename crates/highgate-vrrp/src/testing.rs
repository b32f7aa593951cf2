//! What tests share: a fake origin of time, dice, and bugs to put back on purpose.

/// A bug that a simulation must find.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Bug {
    /// None.
    #[default]
    None,
    /// Between equals nobody gives way.
    EqualsStay,
}
