//! The Highgate program.

fn main() {}
