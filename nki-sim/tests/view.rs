//! The page about a run: what is embedded in it, and what the browser makes of it is tested with the kernels.
#![cfg(feature = "json")]

mod common;

use common::*;
use nki_ir::kernel::BufKind;
use nki_ir::op::{DgeMode, Engine};
use nki_ir::{DType, Target};
use nki_sim::program::*;
use nki_sim::view::Recorder;
use nki_sim::{Mode, SimOptions, SimReport, run_traced, verify};
use serde_json::{Value, json};

use DType::F32;

/// `n` tiles in one slot: load, copy in place to another tile, store.
fn pipeline(n: i64) -> Program {
    let mut p = program(Target::Trn2);
    p.name = "a </script> \"kernel\"".into();
    p.tensors = vec![
        tensor("x", BufKind::Input, F32, &[128, 512], 0),
        tensor("y", BufKind::Output, F32, &[128, 512], 1 << 20),
    ];
    let place = |name: &str, offset: u32| Placement {
        name: name.into(),
        space: nki_ir::Space::Sbuf,
        start_partition: 0,
        partitions: 128,
        offset,
        bytes: 2048,
        loc: nki_ir::Loc::UNKNOWN,
    };
    p.placements = vec![place("in", 0), place("out", 4096)];
    let on = |mut a: Access, object: u32| {
        a.object = Some(object);
        a
    };
    let r = |c: i64, k: i64| affine(c, &[(0, k)]);
    let body = |i: MInst| vec![repeat(0, 0, n, vec![i])];
    let (x, y) = (on(hbm(F32, 0, 128, 512, 512), 0), on(hbm(F32, 1 << 20, 128, 512, 512), 1));
    let (tile, result) = (on(sbuf(F32, 128, 0, 512), 0), on(sbuf(F32, 128, 4096, 512), 1));
    *stream(&mut p, Engine::Sync) =
        body(dma(tile.clone(), x, 0, DgeMode::Hwdge).wait_affine(1, r(0, 1)).signal(0, 16).at(1));
    *stream(&mut p, Engine::Vector) = body(
        copy(result.clone(), tile).wait_affine(0, r(16, 16)).wait_affine(2, r(0, 16)).signal(1, 1).at(2),
    );
    *stream(&mut p, Engine::GpSimd) = body(
        dma(y, result, 1, DgeMode::None).wait_affine(1, r(1, 1)).wait_affine(2, r(0, 16)).signal(2, 16).at(3),
    );
    p
}

fn page(n: i64, limit: usize) -> (String, SimReport) {
    let v = verify(pipeline(n)).unwrap();
    let mut recorder = Recorder::with_limit(&v, limit);
    let options = SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() };
    let report = run_traced(&v, &[], &options, &mut recorder).unwrap().report;
    let mut out = Vec::new();
    let source =
        |file: &str| (file == "k.rs").then(|| "one\ntwo <b>\nthree\nfour\nfive\nsix\nseven".to_string());
    recorder.page(&report, &json!({ "case": "a case" }), &source, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), report)
}

/// The text of an embedded element.
fn embedded<'a>(page: &'a str, id: &str) -> &'a str {
    let from = page.find(&format!("id=\"{id}\">")).unwrap_or_else(|| panic!("no {id}"));
    let text = &page[from..];
    let start = text.find('>').unwrap() + 1;
    &text[start..text.find("</script>").unwrap()]
}

/// Reads varints, as the page's script does.
struct Reader(std::vec::IntoIter<u8>);
impl Reader {
    fn new(base64: &str) -> Reader {
        let digit = |c: u8| match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        let mut bytes = Vec::new();
        for four in base64.as_bytes().chunks(4) {
            let given = four.iter().filter(|c| **c != b'=').count();
            let word =
                four.iter().fold(0u32, |w, c| w << 6 | u32::from(if *c == b'=' { 0 } else { digit(*c) }));
            bytes.extend(&word.to_be_bytes()[1..given]);
        }
        Reader(bytes.into_iter())
    }
    fn next(&mut self) -> u64 {
        let (mut n, mut shift) = (0, 0);
        for b in self.0.by_ref() {
            n |= u64::from(b & 0x7f) << shift;
            shift += 7;
            if b < 0x80 {
                break;
            }
        }
        n
    }
}

#[test]
fn figures_are_the_report_and_nothing_ends_the_page_early() {
    let (page, report) = page(5, 1000);
    // As text: what `--json` prints.
    assert!(embedded(&page, "report") == report.to_json().to_string().replace('<', "\\u003c"));
    assert_eq!(serde_json::from_str::<Value>(embedded(&page, "more")).unwrap()["case"], "a case");
    let program: Value = serde_json::from_str(embedded(&page, "program")).unwrap();
    assert_eq!((&program["dropped"], &program["placements"][1]["name"]), (&json!(0), &json!("out")));
    assert_eq!(program["sources"]["k.rs"]["2"], "two <b>");
    let copy = program["details"].as_array().unwrap().iter().find(|d| d[1] == json!([1, 0])).unwrap();
    assert_eq!(copy[0], "out f32[128x512] \u{2190} in f32[128x512]");
    // No address to fetch from, and no element that would end with the kernel's name.
    assert!(
        !page.contains("http://")
            || page.matches("http").count() == page.matches("http://www.w3.org/2000/svg").count()
    );
    assert_eq!(page.matches("</script>").count(), 5);
    assert!(page.ends_with("</html>\n"));
}

#[test]
fn events_are_all_there_in_order_with_their_producers() {
    let (page, report) = page(20, 1000);
    let mut r = Reader::new(embedded(&page, "events"));
    let tracks = r.next();
    let mut slices = Vec::new();
    let mut producers = 0;
    for _ in 0..tracks {
        let n = r.next();
        slices.push(n);
        for _ in 0..n {
            let _ = (r.next(), r.next(), r.next(), r.next());
            producers += u64::from(r.next() > 0);
        }
    }
    let engines: u64 = report.engines.iter().map(|e| e.instructions).sum();
    assert_eq!(
        (slices[..5].iter().sum::<u64>(), slices[5..].iter().sum::<u64>()),
        (engines, report.dma.transfers)
    );
    assert_eq!((engines, report.dma.transfers), (20, 40));
    // Everything but the first load waits for something.
    assert_eq!(producers, 59);
    for _ in 0..5 {
        for _ in 0..r.next() {
            let _ = (r.next(), r.next(), r.next());
            assert!(r.0.next().unwrap() <= 13);
        }
    }
    // Each slot is filled and used up 20 times, one life after the other.
    let (lives, mut ends, mut start) = (r.next(), [0; 2], 0);
    assert_eq!(lives, 40);
    for _ in 0..lives {
        start += r.next();
        let (end, placement) = (start + r.next(), r.next() as usize);
        assert!(start >= ends[placement] && end > start);
        ends[placement] = end;
    }
    assert!(r.0.next().is_none());
}

#[test]
fn the_first_events_are_kept_and_the_rest_is_counted() {
    let (page, _) = page(50, 100);
    let program: Value = serde_json::from_str(embedded(&page, "program")).unwrap();
    assert!(program["dropped"].as_u64().unwrap() > 50, "{}", program["dropped"]);
    assert_eq!(page, self::page(50, 100).0);
}

#[test]
fn places_of_many_buffers_have_short_names() {
    let label = |name: &str| {
        let mut p = pipeline(1);
        p.placements[0].name = name.into();
        p.placements[0].label()
    };
    // A buffer's own name is kept whole, its number too.
    assert_eq!(label("acc.12"), "acc.12");
    assert_eq!(label("rows|load|rows.1|load.1"), "rows|load");
    assert_eq!(label("rows|load|q_t|load.1|q_t.1|sum.x|max"), "rows|load|q_t and 2 more");
}
