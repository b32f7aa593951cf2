//! What the arithmetic of a login costs, counted for the tests that compare logins: time differs from
//! run to run, the number of hashes does not. Nothing of it is in the program.

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A multiplication on the curve.
    Curve,
    /// A SHA-1 of less than a block.
    Sha1,
    /// A SHA-256 of less than a block.
    Sha256,
    /// So many rounds of SHA-crypt.
    ShaCrypt(u32),
}

/// Says that work is done.
#[cfg(not(test))]
pub(crate) const fn count(_: Work) {}

#[cfg(test)]
thread_local! {
    static DONE: std::cell::RefCell<Vec<Work>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Says that work is done.
#[cfg(test)]
pub(crate) fn count(work: Work) {
    DONE.with_borrow_mut(|done| done.push(work));
}

/// The work that was done since the last call, by this thread.
#[cfg(test)]
pub(crate) fn taken() -> Vec<Work> {
    DONE.take()
}
