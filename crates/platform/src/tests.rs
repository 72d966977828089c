//! What both systems promise, with the same words: these tests run on either.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::link::{self, Offer};
use crate::outputs::RawOutput;
use crate::pipes::{self, Interest, ReadPipe, WritePipe};
use crate::processes::GroupChild;
use crate::{descriptors, disks, files, paths, programs};

const LONG: Duration = Duration::from_secs(60);

/// This program as a child that plays the part which `children::` has under this name.
fn child(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("tests::children::{part}"), "--ignored", "--nocapture"]);
    command.stdout(Stdio::piped());
    command
}

/// The parts of children.
mod children {
    use super::*;

    #[test]
    #[ignore = "the part of a child"]
    fn answers_its_supervisor() {
        let mut lines = BufReader::new(link::from_supervisor()).lines();
        link::send_to_supervisor(b"here\n").unwrap();
        for line in lines.by_ref().map_while(Result::ok) {
            link::send_to_supervisor(format!("got {line}\n").as_bytes()).unwrap();
            if line == "end" {
                std::process::exit(7);
            }
        }
    }

    #[test]
    #[ignore = "the part of a child"]
    fn ends_at_once() {
        std::process::exit(3);
    }

    #[test]
    #[ignore = "the part of a child"]
    fn starts_another_and_waits() {
        let mut other = child("waits").stdout(Stdio::inherit()).spawn().unwrap();
        println!("started {}", other.id());
        other.wait().unwrap();
    }

    #[test]
    #[ignore = "the part of a child"]
    fn waits() {
        println!("waiting");
        std::thread::sleep(10 * LONG);
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("platform-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn would_block<T>(outcome: io::Result<T>) -> bool {
    outcome.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn is_readable(pipe: &ReadPipe, time: Duration) -> bool {
    pipes::wait(&[Interest::Readable(pipe)], Some(time)).unwrap() == [true]
}

/// All that is there, with waits, until so many bytes.
fn take(pipe: &mut ReadPipe, count: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    while taken.len() < count {
        assert!(is_readable(pipe, LONG), "nothing comes after {} bytes", taken.len());
        let mut buffer = [0; 10_000];
        match pipe.read(&mut buffer) {
            Ok(0) => panic!("the end after {} bytes", taken.len()),
            Ok(read) => taken.extend_from_slice(&buffer[..read]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    taken
}

#[test]
fn a_pipe_is_read_without_waiting_up_to_its_end() {
    let (reader, mut writer) = io::pipe().unwrap();
    let mut pipe = ReadPipe::of(reader).unwrap();
    assert!(would_block(pipe.read(&mut [0; 8])) && !pipe.has_ended());
    assert!(!is_readable(&pipe, Duration::from_millis(10)));
    writer.write_all(b"one").unwrap();
    assert_eq!(take(&mut pipe, 3), b"one");
    assert!(would_block(pipe.read(&mut [0; 8])));
    let large = vec![b'x'; 300_000];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = writer;
            writer.write_all(&large).unwrap();
        });
        assert!(take(&mut pipe, large.len()) == large);
    });
    assert!(is_readable(&pipe, LONG));
    assert_eq!(pipe.read(&mut [0; 8]).unwrap(), 0);
    assert!(pipe.has_ended());
}

#[test]
fn what_was_written_before_is_read_after_a_settling() {
    let (reader, mut writer) = io::pipe().unwrap();
    let mut pipe = ReadPipe::of(reader).unwrap();
    for round in 0..20_u8 {
        writer.write_all(&[round; 50_000]).unwrap_or_else(|error| panic!("{error}"));
        pipe.settle();
        let mut found = 0;
        while let Ok(read @ 1..) = pipe.read(&mut [0; 7_000]) {
            found += read;
        }
        assert_eq!(found, 50_000, "round {round}");
    }
}

#[test]
fn a_pipe_is_written_without_waiting_and_whole() {
    let (mut reader, writer) = io::pipe().unwrap();
    let mut pipe = WritePipe::of(writer).unwrap();
    let block = vec![b'y'; 100_000];
    let mut written = 0;
    let deadline = Instant::now() + Duration::from_millis(300);
    while Instant::now() < deadline {
        match pipe.write(&block) {
            Ok(count) => written += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert!((4_096..10_000_000).contains(&written), "{written}: what nobody reads is bounded");
    drop(pipe);
    let mut read = Vec::new();
    assert_eq!(reader.read_to_end(&mut read).unwrap(), written, "what was taken arrives, and the end");
}

#[test]
fn a_pipe_that_nobody_reads_is_an_error() {
    let (reader, writer) = io::pipe().unwrap();
    let mut pipe = WritePipe::of(writer).unwrap();
    drop(reader);
    let deadline = Instant::now() + LONG;
    loop {
        assert!(
            pipes::wait(&[Interest::Writable(&pipe)], Some(LONG)).unwrap()[0] && Instant::now() < deadline
        );
        match pipe.write(b"x") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            Ok(_) => {}
        }
    }
}

#[test]
fn a_wait_is_woken_and_tells_by_what() {
    let (reader, _writer) = io::pipe().unwrap();
    let silent = ReadPipe::of(reader).unwrap();
    let (waker, woken) = pipes::waker().unwrap();
    let both = [Interest::Readable(&silent), Interest::Woken(&woken)];
    std::thread::scope(|scope| {
        scope.spawn(|| waker.wake());
        assert_eq!(pipes::wait(&both, None).unwrap(), [false, true]);
    });
    woken.reset();
    assert_eq!(pipes::wait(&both, Some(Duration::ZERO)).unwrap(), [false, false]);
    drop(waker);
    assert_eq!(pipes::wait(&both, None).unwrap(), [false, true], "whoever could wake is gone");
}

fn start_linked(part: &str) -> (Child, link::Link) {
    let mut command = child(part);
    let offer = Offer::to(&mut command).unwrap();
    let mut child = command.spawn().unwrap();
    drop(command);
    let link = offer.accepted_by(&mut child).unwrap();
    (child, link)
}

#[test]
fn a_child_and_its_supervisor_talk_and_hear_of_each_others_end() {
    let (mut child, mut link) = start_linked("answers_its_supervisor");
    let mut lines = BufReader::new(link.try_clone().unwrap()).lines();
    let mut next = || lines.next().map(|line| line.unwrap_or_else(|error| error.kind().to_string()));
    assert_eq!(next().unwrap(), "here");
    writeln!(link, "one").unwrap();
    assert_eq!(next().unwrap(), "got one");
    writeln!(link, "end").unwrap();
    assert_eq!(next().unwrap(), "got end");
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(next().is_none_or(|line| line == ErrorKind::ConnectionReset.to_string()));
    // The child leaves its loop when this end is gone.
    let (mut child, mut link) = start_linked("answers_its_supervisor");
    link.read_exact(&mut [0; 5]).unwrap();
    drop(link);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_child_that_ends_before_it_talks_is_an_end_and_no_error() {
    let (mut child, mut link) = start_linked("ends_at_once");
    assert!(matches!(link.read(&mut [0; 8]), Ok(0) | Err(_)));
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_program_is_killed_with_what_it_started() {
    let mut command = child("starts_another_and_waits");
    let mut program = GroupChild::spawn(&mut command).unwrap();
    drop(command);
    let mut output = BufReader::new(program.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("waiting") {
        assert!(output.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    assert!(program.try_wait().unwrap().is_none());
    program.kill_group();
    program.wait().unwrap();
    // The other one has this pipe, too: its end is that of both.
    output.read_to_string(&mut seen).unwrap();
}

#[test]
fn a_file_is_known_whatever_its_name_and_another_at_its_path_is_another() {
    let folder = Folder::new("identity");
    let (path, moved) = (folder.0.join("a"), folder.0.join("b"));
    fs::write(&path, "1234").unwrap();
    let open = OpenOptions::new().append(true).open(&path).unwrap();
    let seen = files::look_at(&path).unwrap();
    assert_eq!((seen.length, seen.id), (4, files::look_at_open(&open).unwrap().id));
    let lock = files::RenameLock::try_of(&open, &path).unwrap();
    let other = OpenOptions::new().append(true).open(&path).unwrap();
    assert!(files::RenameLock::try_of(&other, &path).is_err());
    (&other).write_all(b"5").unwrap();
    fs::rename(&path, &moved).unwrap();
    drop(lock);
    assert_eq!(files::look_at(&moved).unwrap().id, seen.id);
    let stamp = files::stamp(&moved);
    fs::write(&path, "").unwrap();
    assert_ne!(files::look_at(&path).unwrap().id, seen.id);
    assert!(stamp.is_some() && files::stamp(&path) != stamp && files::stamp(&folder.0.join("c")).is_none());
    assert_eq!(files::mode_for_others(&private(&folder).metadata().unwrap()), None);
}

fn private(folder: &Folder) -> File {
    let mut options = OpenOptions::new();
    files::made_private(options.read(true).write(true).create(true)).open(folder.0.join("private")).unwrap()
}

#[test]
fn reads_and_writes_at_a_position_are_whole() {
    let folder = Folder::new("position");
    let file = private(&folder);
    files::write_all_at(&file, b"hello", 3).unwrap();
    let mut read = [0; 5];
    files::read_exact_at(&file, &mut read, 3).unwrap();
    assert_eq!((&read, file.metadata().unwrap().len()), (b"hello", 8));
    let past = files::read_exact_at(&file, &mut read, 4).unwrap_err();
    assert_eq!(past.kind(), ErrorKind::UnexpectedEof);
    files::reserve(&file, 100_000).unwrap();
    files::sync_folder(&folder.0).unwrap();
    files::drop_pages(&file).unwrap();
}

#[test]
fn the_lock_of_a_folder_is_one() {
    let folder = Folder::new("lock");
    let first = files::open_for_lock(&folder.0).unwrap();
    first.lock().unwrap();
    assert!(files::open_for_lock(&folder.0).unwrap().try_lock().is_err());
    drop(first);
    files::open_for_lock(&folder.0).unwrap().try_lock().unwrap();
}

#[test]
fn a_disk_has_a_size_and_what_is_free_is_within_it() {
    let folder = Folder::new("disk");
    let space = disks::space(&folder.0).unwrap();
    assert!(space.size > 0 && space.free <= space.size && !space.is_read_only);
    assert!(disks::space(&folder.0.join("nowhere")).is_err());
    assert!(!disks::refuses_writes(&ErrorKind::NotFound.into()));
}

#[test]
fn an_output_takes_bytes_and_says_what_it_is() {
    let (mut reader, writer) = io::pipe().unwrap();
    let output = RawOutput::of(writer);
    assert!(output.is_pipe().unwrap() && output.has_room(Some(Duration::ZERO)).unwrap());
    (&output).write_all(b"abc").unwrap();
    let mut read = [0; 3];
    reader.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"abc");
    let folder = Folder::new("output");
    assert!(!RawOutput::of(private(&folder)).is_pipe().unwrap());
    drop(reader);
    // A child that another test starts at this moment has the reader's end, too, until its program runs.
    let began = Instant::now();
    let error = loop {
        match (&output).write(b"x") {
            Ok(_) => assert!(began.elapsed() < LONG, "nobody reads, and it is written"),
            Err(error) => break error,
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_path_survives_its_way_as_bytes() {
    let path = PathBuf::from("a b/ñ/\u{1F980}");
    let bytes = paths::to_bytes(path.as_os_str());
    assert_eq!(paths::from_bytes(bytes).unwrap(), path);
}

#[test]
fn this_program_is_found_and_another_is_not() {
    let this = std::env::current_exe().unwrap();
    let found = programs::find(this.to_str().unwrap()).unwrap();
    assert_eq!((found, programs::lack(&this)), (this, None));
    for name in ["no-such-program", "./no-such-program", "", "/"] {
        assert_eq!(programs::find(name), None, "{name}");
    }
    let folder = Folder::new("program");
    let text = folder.0.join("handler.py");
    fs::write(&text, "print(1)\n").unwrap();
    assert!(programs::lack(&text).is_some());
}

#[test]
fn any_file_can_be_opened_and_that_none_is_left_is_told_from_other_errors() {
    assert!(File::open(descriptors::ANY_FILE).is_ok());
    assert!(!descriptors::are_used_up(&ErrorKind::StorageFull.into()));
}
