//! The `nki` command as a user runs it: output, JSON, exit status, files.

use std::path::PathBuf;
use std::process::{Command, Output};

fn nki(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nki")).args(args).output().unwrap()
}
fn out(o: &Output) -> String {
    String::from_utf8_lossy(&o.stdout).into_owned()
}
fn err(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}
fn folder(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("nki-cli-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Runs a command that must succeed, with `--json`; the object it prints.
fn json(args: &[&str]) -> serde_json::Value {
    let o = nki(&[args, &["--json"]].concat());
    assert!(o.status.success(), "{args:?}: {}", err(&o));
    serde_json::from_slice(&o.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}\n{}", out(&o)))
}

/// Four tiles of 80,000 bytes a partition, each needed again after the last one is loaded: two of them fit.
#[test]
fn tiles_wait_in_device_memory_when_asked() {
    let dir = folder("spill");
    let [kernel, machine] = ["k.nkir", "k.nkim"].map(|n| dir.join(n).display().to_string());
    let mut body = String::new();
    for i in 0..4 {
        body += &format!("  %t{i} = alloc sbuf<f32, [128, 20000]>\n  dma_copy %t{i}, %x[{i}, :, :]\n");
        body += &format!("  activation %t{i}, %t{i} {{op = exp}}\n");
    }
    (0..4).for_each(|i| body += &format!("  dma_copy %out[{i}, :, :], %t{i}\n"));
    let shape = "[4, 128, 20000]";
    let text = format!(
        "nki-ir 1\nkernel @four(%x: in hbm<f32, {shape}>, %out: out hbm<f32, {shape}>) {{\n{body}}}\n"
    );
    std::fs::write(&kernel, text).unwrap();
    for command in ["schedule", "simulate", "report"] {
        let o = nki(&[command, &kernel]);
        assert!(!o.status.success() && err(&o).contains("SBUF"), "{command}: {}", err(&o));
    }
    let j = json(&["schedule", &kernel, "--spill", "-o", &machine]);
    let spills = j["compiler"]["spills"].as_array().unwrap();
    // What is changed after its load has to be stored.
    let count = |what: &str| spills.iter().map(|s| s[what].as_u64().unwrap()).sum::<u64>();
    assert!(count("stores") >= 2 && count("loads") >= 2, "{j}");
    let moved = |j: &serde_json::Value| {
        let bytes = |k: &str| j["report"]["bytes"][k].as_u64().unwrap();
        bytes("hbm_read") + bytes("hbm_written")
    };
    let report = json(&["report", &kernel, "--spill"]);
    let tile = 128 * 20000 * 4;
    assert_eq!(moved(&report), tile * (8 + count("stores") + count("loads")), "{report}");
    assert!(nki(&["simulate", &kernel, "--spill", "--time-only"]).status.success());
    let o = nki(&["report", &machine, "--spill"]);
    assert!(!o.status.success() && err(&o).contains("`--spill`"), "{}", err(&o));
    std::fs::remove_dir_all(&dir).unwrap();
}

/// What C makes of such files is tested by crate `nki-native`.
#[test]
fn a_kernel_is_built_for_c() {
    let dir = folder("build");
    let (object, header) = (dir.join("k.o"), dir.join("k.h"));
    let [o, h] = [&object, &header].map(|p| p.display().to_string());
    let base = ["build", "matmul", "-d", "m=3", "-d", "n=5", "--dtype", "bf16", "-o", &o];
    let built = json(&[&base[..], &["--header", &h]].concat());
    assert_eq!(built["symbol"], "nki_matmul");
    let text = std::fs::read_to_string(&header).unwrap();
    assert!(
        text.contains("int32_t nki_matmul(const uint16_t *lhs_t, const uint16_t *rhs, uint16_t *out"),
        "{text}"
    );
    assert!(text.contains("bf16 [3, 5], 30 bytes, written"), "{text}");
    assert_eq!(&std::fs::read(&object).unwrap()[..4], b"\x7fELF");
    let wrong = nki(&[&base[..], &["--name", "a b"]].concat());
    assert!(err(&wrong).contains("`a b` is not an identifier of C"), "{}", err(&wrong));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn every_command_has_a_json_twin_with_its_schema() {
    let dir = folder("json");
    let file = |name: &str| dir.join(name).display().to_string();
    let (trace, machine) = (file("t.json"), file("m.nkim"));
    json(&["ir", "softmax", "-d", "rows=2", "-o", &machine]);
    for (args, schema) in [
        (&["list"][..], "nki.list/1"),
        (&["list", "mlp"], "nki.list/1"),
        (&["run", "add", "-d", "rows=3", "-d", "columns=5"], "nki.run/1"),
        (&["check", "add", "-d", "rows=1,129", "-d", "columns=7", "--dtype", "f32"], "nki.check/1"),
        (&["ir", "matmul"], "nki.ir/1"),
        (&["schedule", "matmul", "-d", "k=1"], "nki.schedule/1"),
        (&["schedule", "softmax", "--ablate"], "nki.ablate/1"),
        (&["simulate", "softmax"], "nki.simulate/1"),
        (&["report", "rmsnorm"], "nki.report/1"),
        (&["trace", "add", "-o", &trace], "nki.trace/1"),
        (&["verify", &machine], "nki.verify/1"),
        (&["run", &machine], "nki.run/1"),
        (&["simulate", &machine, "--time-only"], "nki.simulate/1"),
        (&["report", &machine], "nki.report/1"),
        (&["trace", &machine, "-o", &trace], "nki.trace/1"),
        (&["bench", "add", "--seconds", "0"], "nki.bench/1"),
        (&["tune", "matmul", "-p", "tile_m=64,129"], "nki.tune/1"),
        (&["explain"], "nki.explain/1"),
        (&["isa", "nc_matmul"], "nki.isa/1"),
        (&["doctor"], "nki.doctor/1"),
    ] {
        assert_eq!(json(args)["schema"], schema, "{args:?}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn results_go_through_files_and_modes_agree() {
    let dir = folder("files");
    let file = |name: &str| dir.join(name).display().to_string();
    let x = file("x.npy");
    let o = nki(&["run", "add", "-a", "a=normal:f32[5,7]@1", "-a", "b=zeros", "-o", &x]);
    assert!(o.status.success(), "{}", err(&o));
    let mut written = Vec::new();
    for mode in ["eager", "interp", "host", "sim"] {
        let y = file(&format!("{mode}.npy"));
        let o = nki(&["run", "softmax", "-a", &format!("x={x}"), "--mode", mode, "--reference", "-o", &y]);
        assert!(o.status.success(), "{mode}: {}", err(&o));
        assert!(out(&o).contains("f32 rows=5 columns=7"), "{}", out(&o));
        written.push(std::fs::read(&y).unwrap());
    }
    assert_eq!((&written[0], &written[0]), (&written[1], &written[3]));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn tile_ir_can_be_written_verified_and_run() {
    let dir = folder("ir");
    let file = dir.join("m.nkir").display().to_string();
    assert!(nki(&["ir", "matmul", "-d", "m=3", "-o", &file]).status.success());
    assert_eq!(json(&["verify", &file])["passed"], true);
    assert_eq!(json(&["run", &file, "--mode", "sim"])["results"][0]["shape"], serde_json::json!([3, 512]));

    let wrong = std::fs::read_to_string(&file).unwrap().replace("psum<", "sbuf<");
    std::fs::write(&file, wrong).unwrap();
    let o = nki(&["verify", &file]);
    assert_eq!(o.status.code(), Some(1));
    assert!(err(&o).contains("nki::memory") && err(&o).contains("kernel.rs:"), "{}", err(&o));
    std::fs::remove_dir_all(dir).unwrap();
}

/// The machine program of a kernel gives the same bytes and the same time through a file as it does directly.
#[test]
fn what_a_run_notices_is_said() {
    let dir = folder("warnings");
    let file = dir.join("log.nkir");
    let text = "nki-ir 1\n\nkernel @k(%x: in hbm<f32, [2, 3]>, %y: out hbm<f32, [2, 3]>) {
  %a = alloc sbuf<f32, [2, 3]>
  dma_copy %a, %x
  activation %a, %a {op = log}
  dma_copy %y, %a
}\n";
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let warnings = |x: &str, mode: &str| {
        let ran = json(&["run", &file, "--arg", &format!("x={x}:f32[2,3]"), "--mode", mode]);
        let found =
            ran["warnings"].as_array().unwrap().iter().map(|w| w["message"].as_str().unwrap().to_string());
        found.collect::<Vec<_>>()
    };
    for mode in ["interp", "sim"] {
        assert_eq!(
            warnings("zeros", mode),
            ["activation: log of 0.0, which is outside [2^-64, 2^64]"],
            "{mode}"
        );
        assert!(warnings("ones", mode).is_empty(), "{mode}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn machine_programs_can_be_written_verified_run_and_traced() {
    let dir = folder("machine");
    let file = |name: &str| dir.join(name).display().to_string();
    let (program, again, x, direct, through) =
        (file("s.nkim"), file("t.nkim"), file("x.npy"), file("direct.npy"), file("through.npy"));
    let case = ["-a", "x=normal:f32[130,9]@3"];
    assert!(nki(&[&["ir", "softmax", "-o", &program], &case[..]].concat()).status.success());
    assert!(nki(&[&["schedule", "softmax", "-o", &again], &case[..]].concat()).status.success());
    assert_eq!(std::fs::read(&program).unwrap(), std::fs::read(&again).unwrap());
    let machine = nki(&[&["ir", "softmax", "--machine"], &case[..]].concat());
    assert_eq!(out(&machine).trim_end(), std::fs::read_to_string(&program).unwrap().trim_end());

    let passed = json(&["verify", &program]);
    assert_eq!((&passed["passed"], &passed["files"][0]["target"]), (&true.into(), &"trn2".into()));
    json(&["run", "add", "-a", "a=normal:f32[130,9]@3", "-a", "b=zeros", "-o", &x]);
    let given = format!("x={x}");
    let ran = json(&["run", "softmax", "--mode", "sim", "-a", &given, "-o", &direct]);
    let machine = json(&["run", &program, "-a", &given, "-o", &through]);
    assert_eq!(ran["simulated_ns"], machine["simulated_ns"]);
    assert_eq!(std::fs::read(&direct).unwrap(), std::fs::read(&through).unwrap());

    // A file holds one program, whatever runs it.
    for args in [["run", &program], ["simulate", &program]] {
        let o = nki(&[&args[..], &["--programs", "2"]].concat());
        assert_eq!(
            (o.status.code(), err(&o).contains("a file holds one program")),
            (Some(1), true),
            "{}",
            err(&o)
        );
    }

    let trace = file("t.json");
    let traced = json(&["trace", &program, "-o", &trace]);
    assert_eq!(traced["kernel_ns"], machine["simulated_ns"]);
    let events: serde_json::Value = serde_json::from_slice(&std::fs::read(&trace).unwrap()).unwrap();
    let count = |name: &str| {
        let all = events["traceEvents"].as_array().unwrap().iter();
        all.filter(|e| e["ph"] == "X" && e["name"] == name).count() as u64
    };
    let scalar = &json(&["simulate", &program])["report"]["engines"][1]["instructions"];
    assert_eq!(&serde_json::Value::from(count("activation")), scalar);

    // A program that waits for what never comes.
    let text = std::fs::read_to_string(&program).unwrap();
    let at = text.find("wait(s").unwrap();
    let (head, tail) = text.split_at(at);
    std::fs::write(&program, format!("{head}{}", tail.replacen(">= ", ">= 9", 1))).unwrap();
    let o = nki(&["verify", &program]);
    assert_eq!(o.status.code(), Some(1));
    assert!(err(&o).contains("nki::deadlock") && err(&o).contains("kernel.rs:"), "{}", err(&o));
    assert!(!nki(&["trace", &program, "-o", &file("no.json")]).status.success());
    assert!(!dir.join("no.json").exists());
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn mistakes_have_a_code_a_hint_and_a_status() {
    for (args, status, part) in [
        (&["run", "matmlu"][..], 2, "did you mean `matmul`?"),
        (&["run", "matmul", "-a", "tile_k=3"], 2, "did you mean `tile_m`?"),
        (&["run", "matmul", "-d", "q=3"], 2, "its dimensions: k, m, n"),
        (&["run", "matmul", "-a", "k=3"], 2, "`--dim k=3`"),
        (&["run", "matmul", "-a", "lhs_t=nromal"], 2, "did you mean `normal`?"),
        (&["run", "matmul", "-a", "lhs_t=normal[3,4]", "-a", "rhs=normal[5,6]"], 1, "nki::argument"),
        (&["run", "matmul", "-a", "lhs_t=no-such.npy"], 1, "nki::file"),
        (&["run", "matmul", "-a", "tile_m=many"], 1, "tile_m"),
        (&["run", "matmul", "-d", "k=0"], 1, "error["),
        (&["run", "matmul", "-a", "tile_m=129"], 1, "nki::partition"),
        (&["run", "matmul", "-o", "out.txt"], 2, ".npy or .safetensors"),
        (&["run", "matmul", "-o", "no/such/dir/out.npy"], 1, "nki::file"),
        (&["run", "no-such.nkir"], 1, "nki::file"),
        (&["run", "matmul", "--mode", "hots"], 2, "did you mean `host`?"),
        (&["run", "matmul", "--target", "trn4"], 2, "trn2"),
        (&["explain", "psum_ban"], 2, "did you mean `psum_bank`?"),
        (&["isa", "nc_matmlu"], 2, "did you mean `nc_matmul`?"),
        (&["tune", "softmax"], 2, "declares no values to try"),
        (&["tune", "matmul", "-p", "tile_x=1"], 2, "did you mean `tile_m`?"),
        (&["tune", "matmul", "-p", "tile_m=1,1"], 2, "stands twice"),
        (&["tune", "matmul", "-p", "tile_m=1", "-a", "tile_m=2"], 2, "given a value and searched for"),
        (&["tune", "matmul", "--jobs", "0"], 2, "from 1"),
        (&["run", "embedding", "-d", "vocabulary=10"], 1, "element 0 of `ids` is 507, outside of 0..10"),
        (&["simulate", "moe", "-a", "ids=full(3)"], 1, "token 3 is twice in a block of `ids`"),
        (&["run", "softmax", "--programs", "3"], 1, "1 or 2 programs"),
        (&["run", "softmax", "--programs", "2", "--target", "trn1"], 1, "choose trn2 or later"),
        (&["frobnicate"], 2, "frobnicate"),
    ] {
        let o = nki(args);
        assert_eq!(o.status.code(), Some(status), "{args:?}: {}", err(&o));
        assert!(err(&o).contains(part), "{args:?}: {}", err(&o));
        assert!(!err(&o).contains("panicked") && o.stdout.is_empty(), "{args:?}: {}", err(&o));
    }
    let o = nki(&["run", "matmlu", "--json"]);
    let v: serde_json::Value = serde_json::from_slice(&o.stdout).unwrap();
    assert_eq!((&v["schema"], &v["errors"][0]["code"]), (&"nki.error/1".into(), &"nki::usage".into()));
}

/// Both programs of a logical core, from every command that runs a kernel; each of them has half the rows.
#[test]
fn two_programs_run_as_one_core() {
    let rows = ["-d", "rows=512", "-d", "columns=4096"];
    let run =
        json(&[&["run", "softmax", "--programs", "2", "--mode", "sim", "--reference"], &rows[..]].concat());
    assert_eq!(run["results"][0]["accuracy"]["passed"], true, "{run}");
    assert_eq!(
        json(&["check", "lm_head", "--programs", "2", "--mode", "interp", "--dtype", "bf16"])["passed"],
        true
    );
    let time = |programs: &str| {
        let args = [&["simulate", "softmax", "--time-only", "--programs", programs], &rows[..]].concat();
        json(&args)["report"]["kernel_ns"].as_f64().unwrap()
    };
    let (one, two) = (time("1"), time("2"));
    assert!(two < 0.8 * one, "{two} ns, {one} ns by one program");
}

#[test]
fn explained_examples_fail_and_pass_as_they_say() {
    let page = json(&["explain", "nki::psum_bank"]);
    let page = &page["codes"][0];
    let dir = folder("explain");
    for (which, success) in [("failing", false), ("repaired", true)] {
        let path = dir.join(format!("{which}.nkir"));
        std::fs::write(&path, page[which].as_str().unwrap()).unwrap();
        let o = nki(&["verify", path.to_str().unwrap()]);
        assert_eq!(o.status.success(), success, "{which}: {}", err(&o));
        assert_eq!(err(&o).contains("nki::psum_bank"), !success, "{which}: {}", err(&o));
    }
    let shown = out(&nki(&["explain", "psum_bank"]));
    assert!(shown.contains("Fails:") && shown.contains("Repaired:"), "{shown}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn tuning_finds_the_same_winner_however_it_runs_and_its_file_is_refused_elsewhere() {
    let dir = folder("tune");
    let file = |name: &str| dir.join(name).display().to_string();
    let shape = ["-d", "m=200", "-d", "k=130", "-d", "n=600", "--dtype", "bf16"];
    let tune = |rest: &[&str]| json(&[&["tune", "matmul"], &shape[..], rest].concat());
    let space = ["-p", "tile_m=16,64,100,129", "-p", "tile_n=600,512,128"];
    let whole = tune(&space);
    let candidates = whole["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 12);
    let times = candidates.iter().filter_map(|c| c["simulated_ns"].as_f64());
    let fastest = times.fold(whole["baseline_ns"].as_f64().unwrap(), f64::min);
    assert_eq!(whole["winner"]["simulated_ns"].as_f64(), Some(fastest));
    // 129 rows have no place in 128 partitions; 600 f32 columns have none in a PSUM bank.
    let invalid = candidates.iter().filter(|c| c["invalid"].is_string()).count();
    assert_eq!(invalid, 3 + 4 - 1);
    assert_eq!(tune(&[&space[..], &["--jobs", "1"]].concat()), whole);
    // Interrupted after five candidates, then continued.
    let kept = file("kept.json");
    let part = tune(&[&space[..], &["--budget", "5", "-o", &kept]].concat());
    assert_eq!(part["candidates"].as_array().unwrap().len(), 5);
    assert_eq!(tune(&[&space[..], &["-o", &kept]].concat()), whole);
    let simulate = |shape: &[&str]| nki(&[&["simulate", "matmul", "--tuned", &kept], shape].concat());
    let o = simulate(&shape);
    assert!(o.status.success(), "{}", err(&o));
    let o = simulate(&["-d", "m=201", "--dtype", "bf16"]);
    assert!(o.status.code() == Some(1) && err(&o).contains("nki::config"), "{}", err(&o));
    std::fs::write(&kept, "{").unwrap();
    let o = nki(&[&["tune", "matmul", "-o", &kept], &shape[..]].concat());
    assert!(o.status.code() == Some(1) && err(&o).contains("nki::file"), "{}", err(&o));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn ablation_switches_every_pass_off_and_changes_no_result() {
    for kernel in ["add", "matmul", "matmul_blocked", "mlp", "rmsnorm", "softmax"] {
        let j = json(&["schedule", kernel, "--ablate"]);
        let variants = j["variants"].as_array().unwrap();
        assert_eq!(variants.len(), nki::backend::device::Pass::ALL.len() + 2, "{j}");
        let time = |v: &serde_json::Value| v["simulated_ns"].as_f64().unwrap();
        for v in variants {
            assert_eq!(v["same_bits"], true, "{kernel}: {v}");
        }
        assert!(time(&variants[0]) <= time(variants.last().unwrap()), "{kernel}: {j}");
    }
    // A pass that is off already is not switched off again.
    let j = json(&["schedule", "add", "--without", "balance", "--ablate", "--time-only"]);
    let variants = j["variants"].as_array().unwrap();
    assert_eq!(variants.len(), nki::backend::device::Pass::ALL.len() + 1);
    assert!(variants.iter().all(|v| v["variant"] != "without balance" && v["same_bits"].is_null()), "{j}");
}

#[test]
fn the_compilers_choices_are_shown_as_a_schedule() {
    let shown = out(&nki(&["schedule", "softmax", "-d", "rows=1280", "--show"]));
    for step in ["Schedule::new()\n", ".unroll(softmax::at.r, 10)\n", ".buffers(softmax::at.tile, "] {
        assert!(shown.contains(step), "{shown}");
    }
    assert!(shown.contains(".queue(softmax::at.tile, 0)\n") && shown.contains(".queue(softmax::at.y, 1)\n"));
    let j = json(&["schedule", "softmax"]);
    assert!(j["schedule"].as_str().unwrap().starts_with("Schedule::new()"), "{j}");
}

#[test]
fn schedule_steps_are_searched_and_applied() {
    let dir = folder("tune-schedule");
    let path = dir.join("softmax.tune.json").display().to_string();
    let shape = ["softmax", "-d", "rows=1280", "-d", "columns=64"];
    let with = |command: &'static str, more: &[&'static str]| -> Vec<String> {
        [command].iter().chain(&shape).chain(more).map(|s| s.to_string()).collect()
    };
    let call = |args: Vec<String>| json(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let mut search = with("tune", &["--param", "buffers(softmax::at.tile)=own,1,2,16", "-o"]);
    search.push(path.clone());
    let found = call(search.clone());
    let all = found["candidates"].as_array().unwrap();
    assert_eq!(all.len(), 4, "{found}");
    let of = |value: &str| {
        let candidate = all.iter().find(|c| c["values"]["buffers(softmax::at.tile)"] == value).unwrap();
        candidate["simulated_ns"].as_f64().unwrap()
    };
    // One buffer cannot overlap anything.
    assert!(of("1") > of("2") && of("own") == found["baseline_ns"].as_f64().unwrap(), "{found}");
    // What the file says is applied.
    let one = std::fs::read_to_string(&path).unwrap();
    let winner = one.find("\"winner\"").unwrap();
    let end = winner + one[winner..].find('\n').unwrap();
    let forced = format!(
        "{}\"winner\": {{\"values\": {{\"buffers(softmax::at.tile)\": \"1\"}}, \"simulated_ns\": 1.0}},{}",
        &one[..winner],
        &one[end..]
    );
    std::fs::write(&path, forced).unwrap();
    let mut run = with("simulate", &["--tuned"]);
    run.push(path.clone());
    let report = call(run);
    assert!(
        report.to_string().contains(&format!("\"kernel_ns\":{}", serde_json::json!(of("1")))),
        "{report}"
    );
    // All steps; those that cannot be applied are data.
    let all = call(with("tune", &["--schedule", "--budget", "30"]));
    let invalid = |c: &serde_json::Value| c["invalid"].is_string();
    assert_eq!(all["candidates"].as_array().unwrap().len(), 30);
    assert!(all["candidates"].as_array().unwrap().iter().any(|c| !invalid(c)), "{all}");
    let o = nki(&["tune", "softmax", "--param", "buffers(softmax::at.nothing)=1,2"]);
    assert!(out(&o).contains("2 of them cannot run"), "{} {}", out(&o), err(&o));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn reports_advise_and_compare() {
    let dir = folder("report");
    let file = |name: &str| dir.join(name).display().to_string();
    let report = json(&["report", "matmul", "--dtype", "f32", "-d", "m=1024"]);
    let advice = report["advice"].as_array().unwrap();
    assert!(
        advice.iter().any(|a| a["kind"] == "float32" && a["gain_ns"].as_f64().unwrap() > 0.0),
        "{advice:?}"
    );
    let text = out(&nki(&["report", "matmul", "--dtype", "f32", "-d", "m=1024"]));
    assert!(text.contains("what to change") && text.contains("kernel.rs:"), "{text}");

    let ns = |v: &serde_json::Value| v["kernel_ns"].as_f64().unwrap();
    let targets = json(&["report", "softmax", "--vs-target", "trn3"]);
    assert_eq!(targets["schema"], "nki.compare/1");
    assert!(targets["after"]["what"].as_str().unwrap().contains("trn3"));
    let passes = json(&["report", "softmax", "-d", "rows=2048", "--vs-without", "multi-buffer,schedule"]);
    assert!(ns(&passes["after"]) > ns(&passes["before"]));
    let kernels = json(&["report", "matmul", "matmul_blocked", "-d", "m=2048"]);
    assert!(kernels["after"]["what"].as_str().unwrap().starts_with("matmul_blocked"));

    // A run that was kept, against the same kernel now, and against its own machine program.
    let (kept, program) = (file("old.json"), file("add.nkim"));
    let old = nki(&["report", "add", "--json"]);
    std::fs::write(&kept, &old.stdout).unwrap();
    json(&["ir", "add", "-o", &program]);
    for other in ["add", &program] {
        let same = json(&["report", &kept, other]);
        assert_eq!(ns(&same["before"]), ns(&same["after"]));
    }
    for (args, code, part) in [
        (&["report", &kept][..], 2, "can only be compared"),
        (&["report", "add", "no-such.json"], 1, "no-such.json"),
        (&["report", "add", "add", "--html", "x.html"], 2, "one run"),
    ] {
        let o = nki(args);
        assert_eq!(o.status.code(), Some(code), "{args:?}: {}", err(&o));
        assert!(err(&o).contains("error[nki::") && err(&o).contains(part), "{args:?}: {}", err(&o));
    }
    std::fs::write(&kept, "{\"schema\": \"nki.report/1\", \"report\": {}}").unwrap();
    assert!(err(&nki(&["report", &kept, "add"])).contains("no number `kernel_ns`"));
    std::fs::write(&kept, "[").unwrap();
    assert!(err(&nki(&["report", &kept, "add"])).contains("not JSON"));
    let page = file("r.html");
    assert_eq!(json(&["report", "matmul", "--html", &page])["written"], *page);
    assert!(std::fs::read_to_string(&page).unwrap().contains("\"advice\":["));
    std::fs::remove_dir_all(dir).unwrap();
}
