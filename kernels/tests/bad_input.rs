//! What is wrong with the input is said with a code and a place: no panic of ours, no partial file, an exit status.

use nki::ir::testgen::Rng;
use nki::prelude::*;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A kernel with a mistake in its own Rust code.
#[nki::kernel]
fn panics(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let out = nc.hbm(x.shape());
    let table = [1.0, 2.0];
    nc.store(out, nc.load(x) * table[x.shape()[1]]);
    out
}

const COMMAND: &str = "NKI_TEST_COMMAND";

/// Not a test by itself: the process in which [`nki`] runs a command with the kernels above linked in.
#[test]
fn command_of_another_test() {
    let Ok(args) = std::env::var(COMMAND) else { return };
    let args = args.split('\u{1f}').filter(|a| !a.is_empty());
    let status = nki::cli::run_with(["nki"].into_iter().chain(args));
    std::process::exit(if status == std::process::ExitCode::SUCCESS { 0 } else { 101 });
}

/// Runs a command with the kernels of the library.
fn nki(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nki")).args(args).output().unwrap()
}

fn stderr(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let dir = std::env::temp_dir().join(format!("nki-bad-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Folder(dir)
    }
    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        std::fs::write(self.0.join(name), bytes).unwrap();
        self.path(name)
    }
    fn files(&self) -> Vec<String> {
        let all = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            all.map(|f| f.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The command fails, with `code` and `part` on standard error, and nothing on standard output.
#[track_caller]
fn fails(args: &[&str], code: &str, part: &str) {
    let o = nki(args);
    let err = stderr(&o);
    assert_eq!(o.status.code(), Some(if code == "usage" { 2 } else { 1 }), "{args:?}: {err}");
    assert!(err.contains(&format!("error[nki::{code}]")), "{args:?} has no nki::{code}: {err}");
    assert!(err.contains(part), "{args:?} does not say {part:?}: {err}");
    assert!(!err.contains("panicked"), "{args:?}: {err}");
    assert!(o.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&o.stdout));
}

#[test]
fn files_that_are_not_what_their_name_says() {
    let f = Folder::new("files");
    let valid_ir = stdout(&["ir", "matmul", "-d", "m=3", "-d", "k=5"]);
    let valid_machine = stdout(&["ir", "matmul", "--machine", "-d", "m=3", "-d", "k=5"]);
    std::fs::create_dir(f.path("folder.nkir")).unwrap();
    std::fs::create_dir(f.path("folder.npy")).unwrap();
    for (extension, valid, keyword) in [("nkir", &valid_ir, "nki-ir 1"), ("nkim", &valid_machine, "nkim 1")] {
        let cases: [(&str, Vec<u8>, &str, &str); 7] = [
            ("empty", Vec::new(), "syntax", ":1:1"),
            ("binary", (0..=255).collect(), "file", "byte 128"),
            ("text", b"hello\nworld\n".to_vec(), "syntax", ":1:1"),
            ("version", valid.replacen(keyword, &keyword.replace('1', "7"), 1).into(), "syntax", "version 7"),
            ("cut", valid.as_bytes()[..valid.len() / 2].to_vec(), "syntax", ".nki"),
            ("deep", format!("{keyword}\n{}", "{".repeat(100_000)).into(), "syntax", ":2:"),
            ("digits", valid.replacen(" 0 ", " 99999999999999999999999 ", 1).into(), "", ""),
        ];
        for (name, bytes, code, part) in cases {
            let path = f.write(&format!("{name}.{extension}"), &bytes);
            for command in [&["verify"][..], &["simulate"], &["run", "--mode", "sim"], &["report"]] {
                if code.is_empty() {
                    let o = nki(&[command, &[path.as_str()]].concat());
                    assert!(!o.status.success() && !stderr(&o).contains("panicked"), "{}", stderr(&o));
                } else {
                    fails(&[command, &[path.as_str()]].concat(), code, part);
                }
            }
        }
        fails(&["verify", &f.path(&format!("missing.{extension}"))], "file", "missing");
    }
    fails(&["run", &f.path("folder.nkir")], "file", "folder.nkir");
    fails(&["simulate", &f.write("notes.txt", "x")], "usage", "neither the name of a kernel");
    fails(&["verify", &f.path("notes.txt")], "usage", "neither a .nkir nor a .nkim");
    fails(&["run", "softmax", "-a", &format!("x={}", f.path("folder.npy"))], "file", "folder.npy");
}

fn stdout(args: &[&str]) -> String {
    let o = nki(args);
    assert!(o.status.success(), "{args:?}: {}", stderr(&o));
    String::from_utf8(o.stdout).unwrap()
}

/// A valid `.npy` file with 15 values.
fn npy() -> Vec<u8> {
    let f = Folder::new("npy");
    let path = f.path("x.npy");
    assert!(nki(&["run", "add", "-d", "rows=3", "-d", "columns=5", "-o", &path]).status.success());
    std::fs::read(path).unwrap()
}

#[test]
fn arrays_that_are_malformed_or_do_not_fit() {
    let f = Folder::new("arrays");
    let valid = npy();
    let changed = |from: &str, to: &str| {
        let at = valid.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        [&valid[..at], to.as_bytes(), &valid[at + from.len()..]].concat()
    };
    let cases = [
        ("empty", Vec::new(), "file", "byte 0"),
        ("magic", b"not numpy at all".to_vec(), "file", "byte 0"),
        ("cut", valid[..valid.len() - 7].to_vec(), "file", "follow the header"),
        ("header", valid[..20].to_vec(), "file", "header"),
        ("shape", changed("(3, 5)", "(3, 6)"), "file", "follow the header"),
        ("huge", changed("(3, 5)", "(9999999999,9999999999)"), "file", "byte"),
        ("objects", changed("<f4", "|O8"), "file", "|O8"),
        ("keys", changed("descr", "dscer"), "file", "byte"),
    ];
    for (name, bytes, code, part) in cases {
        let path = f.write(&format!("{name}.npy"), bytes);
        fails(&["run", "softmax", "-a", &format!("x={path}")], code, part);
    }
    let ok = f.write("ok.npy", &valid);
    let given = format!("x={ok}");
    fails(&["run", "softmax", "-a", &given, "-d", "columns=7"], "argument", "columns");
    fails(&["run", "matmul", "-a", &format!("lhs_t={ok}"), "-d", "k=4"], "argument", "`k` is 3");
    fails(&["run", "softmax", "-a", &format!("{given}:complex")], "usage", "complex");
    let bytes: Vec<u8> = changed("<f4", "<c8").into_iter().chain([0; 60]).collect();
    fails(&["run", "softmax", "-a", &format!("x={}", f.write("c.npy", bytes))], "file", "<c8");
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("length", u64::MAX.to_le_bytes().to_vec()),
        ("json", [&9u64.to_le_bytes()[..], b"{\"x\": 3]}"].concat()),
        ("offsets", safetensors("[0,64]")),
    ] {
        let path = f.write(&format!("{name}.safetensors"), bytes);
        fails(&["run", "softmax", "-a", &format!("x={path}")], "file", &path);
    }
    let path = f.write("fine.safetensors", safetensors("[0,60]"));
    assert!(nki(&["run", "softmax", "-a", &format!("x={path}")]).status.success());
    fails(&["run", "softmax", "-a", &format!("x={path}#y")], "file", "`y`");
}

/// A file with the tensor `x` of `[3, 5]` at the offsets.
fn safetensors(offsets: &str) -> Vec<u8> {
    let header = format!("{{\"x\":{{\"dtype\":\"F32\",\"shape\":[3,5],\"data_offsets\":{offsets}}}}}");
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 60]].concat()
}

#[test]
fn command_lines_and_values() {
    for (args, code, part) in [
        (&["run", "matmlu"][..], "usage", "did you mean `matmul`?"),
        (&["run"], "usage", "KERNEL|FILE"),
        (&["run", "matmul", "--nonsense"], "usage", "--nonsense"),
        (&["simulate", "matmul", "--adversary", "1", "--time-only"], "usage", "cannot be used with"),
        (&["trace", "matmul"], "usage", "--output"),
        (&["run", "matmul", "-d", "k"], "usage", "NAME=VALUE"),
        (&["run", "matmul", "-d", "k=-1"], "usage", "-1"),
        (&["run", "matmul", "-d", "k=0"], "ensure", "k > 0"),
        (&["run", "matmul", "-d", "k=99999999999999999999"], "usage", "not a size"),
        (&["simulate", "softmax", "-d", "rows=0"], "shape", "empty"),
        (&["run", "matmul", "--dtype", "f99"], "usage", "f99"),
        (&["run", "matmul", "-a", "lhs_t=normal[3,4,5]"], "argument", "[3, 4, 5]"),
        (&["run", "matmul", "-a", "lhs_t=normal:i32[3,4]"], "argument", "i32"),
        (&["run", "softmax", "-a", "x=normal[0,4]"], "shape", "empty"),
        (&["run", "matmul", "-a", "lhs_t=normal[3,4"], "usage", "["),
        (&["run", "matmul", "-a", "tile_m=0"], "", ""),
        (&["run", "matmul", "-a", "tile_m=-3"], "", ""),
        (&["schedule", "matmul", "--without", "shedule"], "usage", "did you mean `schedule`?"),
        (&["ir", "matmul", "-o", "x.txt"], "usage", ".nkir or .nkim"),
        (&["ir", "matmul", "--machine", "-o", "x.nkir"], "usage", ".nkim"),
        (&["schedule", "matmul", "-o", "x.nkir"], "usage", ".nkim"),
        (&["bench", "matmul", "--seconds", "many"], "usage", "many"),
        (&["explain", "psum_bnak"], "usage", "did you mean `psum_bank`?"),
    ] {
        if code.is_empty() {
            let o = nki(args);
            assert!(!o.status.success() && stderr(&o).contains("error[nki::"), "{args:?}: {}", stderr(&o));
            assert!(!stderr(&o).contains("panicked"), "{args:?}: {}", stderr(&o));
        } else {
            fails(args, code, part);
        }
    }
}

#[test]
fn outputs_that_cannot_be_written_leave_nothing_behind() {
    let f = Folder::new("outputs");
    std::fs::create_dir(f.path("taken.npy")).unwrap();
    std::fs::create_dir(f.path("taken.nkim")).unwrap();
    std::fs::create_dir(f.path("taken.json")).unwrap();
    let before = f.files();
    let d = ["-d", "rows=2", "-d", "columns=3"];
    fails(&[&["run", "add", "-o", &f.path("taken.npy")], &d[..]].concat(), "file", "directory");
    fails(&[&["ir", "add", "-o", &f.path("taken.nkim")], &d[..]].concat(), "file", "directory");
    fails(&[&["trace", "add", "-o", &f.path("taken.json")], &d[..]].concat(), "file", "directory");
    fails(&[&["trace", "add", "-o", &f.path("no/such/t.json")], &d[..]].concat(), "file", "No such file");
    fails(&[&["run", "add", "-o", &f.path("no/such/y.npy")], &d[..]].concat(), "file", "No such file");
    // Fails before, while and after running: nothing has been written.
    fails(&["trace", "add", "-d", "rows=0", "-o", &f.path("t.json")], "shape", "empty");
    fails(&["run", "add", "-d", "rows=0", "-o", &f.path("y.npy")], "shape", "empty");
    fails(&[&["run", "add", "-o", &f.path("y.npy:i32x")], &d[..]].concat(), "usage", "i32x");
    fails(
        &[&["run", "add", "-o", &format!("nothing={}", f.path("y.npy"))], &d[..]].concat(),
        "usage",
        "nothing",
    );
    if Path::new("/dev/full").exists() {
        fails(&[&["trace", "add", "-o", "/dev/full"], &d[..]].concat(), "file", "/dev/full");
    }
    assert_eq!(f.files(), before);
    // What was there before a failure is still there.
    let kept = f.write("kept.json", "before");
    fails(&["trace", "add", "-d", "rows=0", "-o", &kept], "shape", "empty");
    assert_eq!(std::fs::read(&kept).unwrap(), b"before");
    assert!(nki(&[&["trace", "add", "-o", &kept], &d[..]].concat()).status.success());
    assert!(std::fs::read(&kept).unwrap().starts_with(b"{"));
}

#[test]
fn a_panic_of_the_kernels_own_code_is_a_finding() {
    let run = |args: &str| {
        let me = std::env::current_exe().unwrap();
        let mut c = Command::new(me);
        c.args(["--exact", "command_of_another_test", "--nocapture"])
            .env(COMMAND, args.replace(' ', "\u{1f}"));
        c.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).output().unwrap()
    };
    for mode in ["eager", "interp", "host", "sim"] {
        let o = run(&format!("run panics -a x=normal:f32[4,9] --mode {mode}"));
        let err = stderr(&o);
        assert_eq!(o.status.code(), Some(101), "{err}");
        assert!(err.contains("error[nki::kernel_panic]: "), "{err}");
        assert!(err.contains("index out of bounds") && err.contains("kernels/tests/bad_input.rs:"), "{err}");
        assert!(err.contains("table[x.shape()[1]]"), "the source line is not shown: {err}");
        assert!(!err.contains("panicked at"), "{err}");
    }
    assert!(run("run panics -a x=normal:f32[4,1]").status.success());
}

#[test]
fn values_that_are_not_numbers_are_data() {
    for kernel in ["add", "softmax", "rmsnorm"] {
        for value in ["special", "full(nan)", "full(inf)", "full(-inf)"] {
            let first = if kernel == "add" { "a" } else { "x" };
            for mode in ["interp", "host", "sim"] {
                let o = nki(&[
                    "run",
                    kernel,
                    "-d",
                    "rows=3",
                    "-d",
                    "columns=5",
                    "--dtype",
                    "f32",
                    "-a",
                    &format!("{first}={value}"),
                    "--mode",
                    mode,
                ]);
                assert!(o.status.success(), "{kernel} {value} {mode}: {}", stderr(&o));
            }
        }
    }
}

/// Changes a few bytes: replaced, removed, repeated, or exchanged for something that the formats use.
fn mutate(rng: &mut Rng, valid: &[u8]) -> Vec<u8> {
    const WORDS: [&[u8]; 14] = [
        b"0",
        b"-1",
        b"4294967296",
        b"18446744073709551615",
        b"-9223372036854775808",
        b"{",
        b"}",
        b"[",
        b"]",
        b"(",
        b"\"",
        b"\n",
        b"1e999",
        b"%",
    ];
    let mut bytes = valid.to_vec();
    // Most changes are small, so that many texts get past the parser and some past the gate.
    for _ in 0..if rng.percent(70) { 1 } else { rng.range(2, 4) } {
        let at = rng.below(bytes.len() as u32) as usize;
        let digit = |bytes: &[u8]| bytes[at..].iter().position(u8::is_ascii_digit).map_or(at, |d| at + d);
        match rng.below(12) {
            6.. => {
                let digit = digit(&bytes);
                bytes[digit] = b'0' + rng.below(10) as u8;
            }
            0 => bytes[at] = rng.below(256) as u8,
            1 => bytes[at] ^= 1 << rng.below(8),
            2 => {
                let end = (at + rng.range(1, 40) as usize).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let end = (at + rng.range(1, 60) as usize).min(bytes.len());
                let part = bytes[at..end].to_vec();
                let to = rng.below(bytes.len() as u32) as usize;
                bytes.splice(to..to, part);
            }
            4 => {
                // The next number becomes another.
                let digits = digit(&bytes);
                let end = bytes[digits..]
                    .iter()
                    .position(|b| !b.is_ascii_digit())
                    .map_or(bytes.len(), |d| digits + d);
                let word = WORDS[rng.below(5) as usize];
                bytes.splice(digits..end, word.iter().copied());
            }
            _ => {
                let word = rng.pick(&WORDS);
                bytes.splice(at..at, word.iter().copied());
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// Texts of several kernels.
fn texts(machine: bool) -> Vec<String> {
    let kernels = [("matmul", "m=3"), ("softmax", "rows=129"), ("rmsnorm", "rows=2"), ("add", "columns=7")];
    let text = |(kernel, dim): &(&str, &str)| {
        let args = ["ir", kernel, "-d", dim, "--machine"];
        stdout(if machine { &args } else { &args[..4] })
    };
    kernels.iter().map(text).collect()
}

#[test]
fn mutated_tile_ir_is_reported_or_runs() {
    use nki::ir::interp::{self, InterpOptions};
    let (mut rng, texts) = (Rng::new(1), texts(false));
    let (mut parsed, mut verified) = (0, 0);
    for i in 0..4000 {
        let bytes = mutate(&mut rng, texts[i % texts.len()].as_bytes());
        let text = String::from_utf8_lossy(&bytes);
        let kernel = match nki::ir::text::parse(&text, "mutated.nkir") {
            Ok(kernel) => kernel,
            Err(found) => {
                assert!(found.iter().all(|d| d.at.is_some()), "no place: {found}\n{text}");
                continue;
            }
        };
        parsed += 1;
        let Ok(verified_kernel) = nki::check::gate(kernel, Target::Trn2, &mut Default::default()) else {
            continue;
        };
        verified += 1;
        // What has passed the gate compiles and runs, or says why not. Sizes that a test cannot hold are left out.
        let kernel = verified_kernel.kernel();
        let elements = |b: &nki::ir::BufData| b.shape.iter().map(|&d| u64::from(d)).product::<u64>();
        if kernel.bufs.iter().map(|(_, b)| elements(b)).sum::<u64>() > 1 << 22 {
            continue;
        }
        let inputs: Vec<_> = kernel
            .inputs()
            .map(|(_, b)| {
                nki::ir::Tensor::zeros(b.dtype, &b.shape.iter().map(|&d| d as usize).collect::<Vec<_>>())
            })
            .collect();
        let options = InterpOptions { max_steps: Some(100_000), ..InterpOptions::default() };
        let _ = interp::run(&verified_kernel, &inputs, &options);
        if verified % 4 == 0 {
            let _ = nki::backend::device::compile(&verified_kernel, &Default::default());
        }
    }
    assert!(
        parsed > 300 && verified > 50,
        "{parsed} parsed, {verified} verified: the mutations are too wild"
    );
}

#[test]
fn mutated_machine_programs_are_reported_or_run() {
    use nki::sim::{Mode, SimOptions};
    let (mut rng, texts) = (Rng::new(2), texts(true));
    let (mut parsed, mut verified) = (0, 0);
    for i in 0..4000 {
        let bytes = mutate(&mut rng, texts[i % texts.len()].as_bytes());
        let text = String::from_utf8_lossy(&bytes);
        let program = match nki::sim::text::parse(&text, "mutated.nkim") {
            Ok(program) => program,
            Err(found) => {
                assert!(found.iter().all(|d| d.at.is_some()), "no place: {found}\n{text}");
                continue;
            }
        };
        parsed += 1;
        let Ok(program) = nki::sim::verify(program) else { continue };
        verified += 1;
        let options = SimOptions { mode: Mode::TimeOnly, max_instructions: 100_000, ..SimOptions::default() };
        let _ = nki::sim::run(&program, &[], &options);
    }
    assert!(
        parsed > 300 && verified > 50,
        "{parsed} parsed, {verified} verified: the mutations are too wild"
    );
}

#[test]
fn mutated_arrays_are_reported_or_read() {
    let (mut rng, valid) = (Rng::new(3), npy());
    let mut read = 0;
    for _ in 0..5000 {
        // The header alone: what follows may be anything.
        let header = mutate(&mut rng, &valid[..valid.len() - 30]);
        match nki::args::npy::read(&[&header[..], &valid[valid.len() - 30..]].concat()) {
            Ok(array) => {
                read += 1;
                let _ = array.into_tensor(None);
            }
            Err(e) => assert!(e.at <= header.len() + 30 && !e.what.is_empty()),
        }
    }
    assert!(read > 100, "{read} were read: the mutations are too wild");
}
