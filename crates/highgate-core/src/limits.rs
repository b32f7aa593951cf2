//! Bounds on connections: who waits, who comes first, how fast new ones are opened.

mod attempts;
mod broker;
mod bucket;

pub use self::{
    attempts::{Attempts, Consequence},
    broker::{Broker, HandOver, Waiter, WaiterId},
    bucket::TokenBucket,
};
