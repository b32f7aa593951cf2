//! Bounds on connections: who waits, who comes first, how fast new ones are opened.

mod broker;
mod bucket;

pub use self::{
    broker::{Broker, HandOver, Waiter, WaiterId},
    bucket::TokenBucket,
};
