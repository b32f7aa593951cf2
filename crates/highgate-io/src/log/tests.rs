use std::io::ErrorKind;

use super::*;

/// A disk with room for so many bytes.
#[derive(Clone)]
struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

impl Disk {
    fn of(room: usize) -> Self {
        Self(Arc::new(Mutex::new((Vec::new(), room))))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().0.clone()).unwrap()
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock();
        let (_, room) = *disk;
        if room == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(room);
        disk.0.extend_from_slice(&bytes[..count]);
        disk.1 -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn writer(queue: LogQueue, disk: &Disk) -> std::thread::JoinHandle<()> {
    let disk = disk.clone();
    crate::tasks::thread("log", move || queue.write_to(disk)).unwrap()
}

#[test]
fn lines_are_written_in_order_and_none_is_left_behind_at_the_end() {
    let (mut lines, queue) = queue();
    let disk = Disk::of(1000);
    let thread = writer(queue, &disk);
    for at in 0..5 {
        lines.write_all(format!("line {at}\n").as_bytes()).unwrap();
    }
    lines.flush_within(Duration::from_secs(10));
    assert!(disk.text().ends_with("line 4\n"), "{}", disk.text());
    lines.write_all(b"last\n").unwrap();
    drop(lines);
    thread.join().unwrap();
    assert!(disk.text().ends_with("line 4\nlast\n"), "{}", disk.text());
}

#[test]
fn what_a_full_disk_loses_is_counted_and_told_where_it_is_missing() {
    let (mut lines, queue) = queue();
    let disk = Disk::of(10);
    let thread = writer(queue, &disk);
    for text in ["first\n", "second\n", "third\n"] {
        lines.write_all(text.as_bytes()).unwrap();
    }
    lines.flush_within(Duration::from_secs(10));
    let losses = lines.losses();
    assert_eq!(losses.lines, 2);
    assert_eq!(losses.because.unwrap(), io::Error::from(ErrorKind::StorageFull).to_string());
    // Room again: seen without anybody logging.
    disk.0.lock().1 = 1000;
    while lines.losses().because.is_some() {
        lines.flush_within(Duration::from_millis(1));
    }
    lines.write_all(b"fourth\n").unwrap();
    drop(lines);
    thread.join().unwrap();
    assert_eq!(disk.text(), "first\nseco\n2 lines of the log are missing here\nfourth\n");
}

#[test]
fn a_reader_that_stalls_costs_lines_and_no_time() {
    let (mut lines, queue) = queue();
    // Nobody writes yet, as where a pipe is full.
    for at in 0..WAITING + 7 {
        lines.write_all(format!("{at}\n").as_bytes()).unwrap();
    }
    let losses = lines.losses();
    assert_eq!((losses.lines, losses.because.as_deref()), (7, Some(STALLED)));
    let disk = Disk::of(1 << 20);
    let thread = writer(queue, &disk);
    while lines.losses().because.is_some() {
        lines.flush_within(Duration::from_millis(1));
    }
    drop(lines);
    thread.join().unwrap();
    let text = disk.text();
    assert_eq!(text.lines().count(), WAITING + 1);
    assert!(text.ends_with("4095\n7 lines of the log are missing here\n"), "{text}");
}

#[test]
fn what_was_logged_before_the_thread_began_is_not_lost() {
    let (mut lines, queue) = queue();
    lines.write_all(b"a mistake\n").unwrap();
    let disk = Disk::of(100);
    queue.write_rest_to(disk.clone());
    assert_eq!(disk.text(), "a mistake\n");
    // Nobody is there any more: no error, and no wait.
    lines.write_all(b"later\n").unwrap();
    lines.flush_within(Duration::from_secs(10));
}
