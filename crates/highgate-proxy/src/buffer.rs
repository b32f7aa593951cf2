//! Buffers of one worker: small, pooled, and given back while a session has nothing in them.

use std::{
    cell::RefCell,
    ops::Range,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Size of a common buffer: most commands and answers fit, and it stays within the first cache.
pub(crate) const SMALL: usize = 16 * 1024;
/// Size of a buffer for long results: fewer, larger system calls, yet what was read is still in the first or
/// second cache when it is written. Measured from 16 to 128 KiB: 32 to 48 cost a third less than 64 and
/// 128 on a processor with a first cache of 48 KiB.
pub(crate) const LARGE: usize = 48 * 1024;
/// Free buffers kept per size; beyond it they go back to the allocator.
const KEEP_SMALL: usize = 256;
const KEEP_LARGE: usize = 16;

/// Memory outside of the pooled buffers, counted with them while this lives.
#[derive(Debug)]
pub(crate) struct Held {
    total: Arc<AtomicU64>,
    bytes: u64,
}

impl Held {
    /// Nothing yet.
    pub(crate) fn new(total: Arc<AtomicU64>) -> Self {
        Self { total, bytes: 0 }
    }

    /// It is that many bytes now.
    pub(crate) fn set(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        if bytes > self.bytes {
            self.total.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else if bytes < self.bytes {
            self.total.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// It is that many bytes more.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.set(usize::try_from(self.bytes).unwrap_or(usize::MAX).saturating_add(bytes));
    }

    /// It is that many bytes less.
    pub(crate) fn release(&mut self, bytes: usize) {
        self.set(usize::try_from(self.bytes).unwrap_or(usize::MAX).saturating_sub(bytes));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Free buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    small: RefCell<Vec<Box<[u8]>>>,
    large: RefCell<Vec<Box<[u8]>>>,
    /// Bytes held from the allocator, by all workers: touched only where one asks it for more.
    held: Arc<AtomicU64>,
}

impl BufferPool {
    /// An empty pool that counts what it holds into `held`.
    pub(crate) fn new(held: Arc<AtomicU64>) -> Self {
        Self { held, ..Self::default() }
    }

    /// Counts memory outside of the buffers with them.
    pub(crate) fn counter(&self) -> Held {
        Held::new(self.held.clone())
    }

    fn take(&self, size: usize) -> Box<[u8]> {
        let list = if size == SMALL { &self.small } else { &self.large };
        let free = list.borrow_mut().pop();
        free.unwrap_or_else(|| self.allocate(size))
    }

    fn allocate(&self, size: usize) -> Box<[u8]> {
        self.held.fetch_add(size as u64, Ordering::Relaxed);
        vec![0; size].into_boxed_slice()
    }

    #[expect(clippy::boxed_local, reason = "it is freed here")]
    fn free(&self, memory: Box<[u8]>) {
        self.held.fetch_sub(memory.len() as u64, Ordering::Relaxed);
    }

    fn give(&self, memory: Box<[u8]>) {
        let (list, keep) = match memory.len() {
            SMALL => (&self.small, KEEP_SMALL),
            LARGE => (&self.large, KEEP_LARGE),
            0 => return,
            _ => return self.free(memory),
        };
        let mut list = list.borrow_mut();
        if list.len() < keep {
            list.push(memory);
        } else {
            self.free(memory);
        }
    }
}

/// Bytes that were read and not used yet. Holds memory only while it holds bytes or is being
/// filled.
#[derive(Debug)]
pub(crate) struct Buffer {
    pool: Rc<BufferPool>,
    memory: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// A buffer without memory.
    pub(crate) fn new(pool: Rc<BufferPool>) -> Self {
        Self { pool, memory: Box::default(), start: 0, end: 0 }
    }

    /// What is in it.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }

    /// What is in it, to be changed in place.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// How much is in it.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room for reading, at least one byte of it; takes memory from the pool when it has none.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.memory.is_empty() {
            self.memory = self.pool.take(SMALL);
        } else if self.end == self.memory.len() {
            self.make_room(1);
        }
        self.memory.get_mut(self.end..).unwrap_or_default()
    }

    /// Whether the last read filled all the room.
    pub(crate) fn is_full(&self) -> bool {
        self.end == self.memory.len()
    }

    /// Makes room for `more` bytes behind the present ones, by moving or growing.
    pub(crate) fn make_room(&mut self, more: usize) {
        if self.memory.len() - self.end >= more {
            return;
        }
        let len = self.len();
        if self.memory.len() - len >= more {
            self.memory.copy_within(self.start..self.end, 0);
        } else {
            let size = (len + more).max(SMALL);
            let size = if size <= SMALL { SMALL } else { size.max(self.memory.len() * 2) };
            let mut memory =
                if size == SMALL { self.pool.take(SMALL) } else { self.pool.allocate(size) };
            if let Some(to) = memory.get_mut(..len) {
                to.copy_from_slice(self.bytes());
            }
            self.pool.give(std::mem::replace(&mut self.memory, memory));
        }
        self.start = 0;
        self.end = len;
    }

    /// Changes an empty buffer to the large size.
    pub(crate) fn enlarge(&mut self) {
        if self.is_empty() && self.memory.len() < LARGE {
            let large = self.pool.take(LARGE);
            self.pool.give(std::mem::replace(&mut self.memory, large));
            self.start = 0;
            self.end = 0;
        }
    }

    /// `count` bytes were read into the room.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.memory.len());
    }

    /// `count` bytes are no longer needed. The memory goes back with the last of them.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Adds bytes at the end.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        if self.memory.is_empty() {
            self.memory = self.pool.take(SMALL);
        }
        self.make_room(bytes.len());
        let range: Range<usize> = self.end..self.end + bytes.len();
        if let Some(to) = self.memory.get_mut(range) {
            to.copy_from_slice(bytes);
            self.end += bytes.len();
        }
    }

    /// Puts `bytes`, which are not longer, in the place of `range` of what is in it.
    pub(crate) fn replace(&mut self, range: Range<usize>, bytes: &[u8]) {
        let (from, to) = (self.start + range.start, self.start + range.end);
        let Some(place) = self.memory.get_mut(from..from + bytes.len()) else { return };
        place.copy_from_slice(bytes);
        let surplus = (to - from).saturating_sub(bytes.len());
        self.memory.copy_within(to..self.end, from + bytes.len());
        self.end -= surplus;
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() && !self.memory.is_empty() {
            self.start = 0;
            self.end = 0;
            let memory = std::mem::take(&mut self.memory);
            self.pool.give(memory);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(buffer: &mut Buffer, bytes: &[u8]) {
        buffer.make_room(bytes.len());
        buffer.room()[..bytes.len()].copy_from_slice(bytes);
        buffer.filled(bytes.len());
    }

    #[test]
    fn an_empty_buffer_gives_its_memory_back() {
        let pool = Rc::new(BufferPool::default());
        let mut buffer = Buffer::new(pool.clone());
        read(&mut buffer, b"abc");
        buffer.rest();
        assert_eq!(buffer.bytes(), b"abc", "bytes keep their memory");
        buffer.consume(3);
        buffer.rest();
        assert_eq!(pool.small.borrow().len(), 1);
        assert_eq!(buffer.memory.len(), 0);
    }

    #[test]
    fn bytes_survive_moving_and_growing() {
        let mut buffer = Buffer::new(Rc::default());
        let long: Vec<u8> = (0..SMALL).map(|i| (i % 251) as u8).collect();
        read(&mut buffer, &long);
        buffer.consume(10);
        buffer.make_room(10);
        assert_eq!(buffer.bytes(), &long[10..]);
        assert_eq!(buffer.memory.len(), SMALL, "moving was enough");
        buffer.extend(&long);
        assert_eq!(buffer.len(), 2 * SMALL - 10);
        assert_eq!(&buffer.bytes()[SMALL - 10..], &long[..]);
    }

    #[test]
    fn held_memory_is_counted_until_it_goes_back_to_the_allocator() {
        let held = Arc::new(AtomicU64::new(0));
        let pool = Rc::new(BufferPool::new(held.clone()));
        let mut buffer = Buffer::new(pool.clone());
        buffer.make_room(10 * LARGE);
        assert_eq!(held.load(Ordering::Relaxed), 10 * LARGE as u64);
        drop(buffer);
        assert_eq!(held.load(Ordering::Relaxed), 0);
        Buffer::new(pool.clone()).room();
        assert_eq!(held.load(Ordering::Relaxed), SMALL as u64, "pooled memory is held as well");
        let _ = Buffer::new(pool).room();
        assert_eq!(held.load(Ordering::Relaxed), SMALL as u64, "and used again");
    }

    #[test]
    fn all_of_a_buffer_can_be_let_go_also_when_a_part_of_it_was() {
        let mut buffer = Buffer::new(Rc::default());
        buffer.extend(b"abcdef");
        buffer.consume(2);
        buffer.consume(usize::MAX);
        assert!(buffer.is_empty());
    }

    #[test]
    fn memory_outside_of_buffers_is_counted_as_it_grows_shrinks_and_goes() {
        let total = Arc::new(AtomicU64::new(7));
        let mut held = Held::new(total.clone());
        held.add(100);
        held.add(50);
        held.release(30);
        assert_eq!(total.load(Ordering::Relaxed), 127);
        held.set(10);
        assert_eq!(total.load(Ordering::Relaxed), 17);
        held.release(1000);
        assert_eq!(total.load(Ordering::Relaxed), 7);
        held.add(5);
        drop(held);
        assert_eq!(total.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn a_stream_gets_a_large_buffer_and_returns_it() {
        let pool = Rc::new(BufferPool::default());
        let mut buffer = Buffer::new(pool.clone());
        buffer.room();
        buffer.enlarge();
        assert_eq!(buffer.room().len(), LARGE);
        drop(buffer);
        assert_eq!((pool.small.borrow().len(), pool.large.borrow().len()), (1, 1));
    }
}
