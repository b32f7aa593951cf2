//! Bounds on connections: who waits, who comes first, how fast new ones are opened.

mod attempts;
mod broker;
mod bucket;
mod telling;

pub use self::{
    attempts::{Attempts, Consequence},
    broker::{Broker, HandOver, Waiter, WaiterId},
    bucket::TokenBucket,
    telling::{Telling, and_more},
};
