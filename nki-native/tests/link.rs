//! Kernels compiled ahead of time, called from C programs that are compiled and linked here.

use nki_backend::host::object::{Object, build};
use nki_ir::verify::resolve_and_verify;
use nki_ir::{Target, text};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn object(source: &str, symbol: Option<&str>) -> Object {
    let kernel = text::parse(source, "test").unwrap();
    build(&resolve_and_verify(kernel, Target::Trn2).unwrap(), symbol).unwrap()
}

/// The static library beside this test's executable; several may have been left by earlier builds.
fn library() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let found = std::fs::read_dir(tests.parent().unwrap()).unwrap().map(|e| e.unwrap().path());
    let ours = |p: &PathBuf| {
        let name = p.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("libnki_native") && name.ends_with(".a")
    };
    let newest = |p: &PathBuf| std::fs::metadata(p).unwrap().modified().unwrap();
    found.filter(ours).max_by_key(newest).expect("cargo builds the static library with this test")
}

/// Compiles and links a program with object files in a directory of its own, and runs it.
fn run(name: &str, objects: &[&Object], main: &str) -> Output {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-o", "program", "main.c"])
        .current_dir(&dir);
    for object in objects {
        std::fs::write(dir.join(format!("{}.o", object.symbol)), &object.object).unwrap();
        std::fs::write(dir.join(format!("{}.h", object.symbol)), &object.header).unwrap();
        cc.arg(format!("{}.o", object.symbol));
    }
    std::fs::write(dir.join("main.c"), main).unwrap();
    cc.arg(library()).args(["-Wl,--fatal-warnings", "-lpthread", "-ldl", "-lm"]);
    let built = cc.output().expect("the tests need a C compiler");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Command::new(dir.join("program")).output().unwrap()
}

fn printed(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {out}{err}", output.status);
    out.into_owned()
}

/// `out = aᵀ b` for `[200, 70]` and `[200, 33]`, K in a loop and a ragged rest, and `y += out`'s sum of rows.
const PRODUCT: &str = "nki-ir 1

kernel @product(
  %a: in hbm<f32, [200, 70]>,
  %b: in hbm<f32, [200, 33]>,
  %out: out hbm<f32, [70, 33]>,
) {
  %acc = alloc psum<f32, [70, 33]>
  for %k in 0..2 {
    %x = alloc sbuf<f32, [100, 70]>
    dma_copy %x, %a[%k*100 +: 100, :]
    %y = alloc sbuf<f32, [100, 33]>
    dma_copy %y, %b[%k*100 +: 100, :]
    nc_matmul %acc, %x, %y {accumulate = unless_first(%k)}
  }
  %z = alloc sbuf<f32, [70, 33]>
  tensor_copy %z, %acc
  dma_copy %out[:, :], %z
}
";

/// `sum += x`, whose name is a keyword of C.
const SUM: &str = "nki-ir 1

kernel @sum(
  %double: inout hbm<f32, [130, 3]>,
  %x: in hbm<bf16, [130, 3]>,
) {
  for %r in 0..10 {
    %old = alloc sbuf<f32, [13, 3]>
    dma_copy %old, %double[%r*13 +: 13, :]
    %new = alloc sbuf<bf16, [13, 3]>
    dma_copy %new, %x[%r*13 +: 13, :]
    tensor_tensor %old, %old, %new {op = add}
    dma_copy %double[%r*13 +: 13, :], %old
  }
}
";

#[test]
fn two_kernels_run_from_c_on_any_number_of_threads() {
    let objects = [&object(PRODUCT, None), &object(SUM, Some("accumulate"))];
    let main = r#"
#include "accumulate.h"
#include "nki_product.h"
#include <stdio.h>

static float a[200 * 70], b[200 * 33], out[70 * 33], sum[130 * 3];
static uint16_t x[130 * 3];

int main(void) {
    for (int i = 0; i < 200 * 70; i++) a[i] = (float)(i % 7 - 3);
    for (int i = 0; i < 200 * 33; i++) b[i] = (float)(i % 5 - 2);
    for (int i = 0; i < 130 * 3; i++) { sum[i] = (float)i; x[i] = 0x4000; /* 2 */ }
    for (uint32_t threads = 0; threads < 4; threads++) {
        nki_native_threads(threads);
        for (int i = 0; i < 70 * 33; i++) out[i] = -1.0f;
        if (nki_product(a, b, out)) return puts(nki_native_error()), 1;
        for (int m = 0; m < 70; m++) for (int n = 0; n < 33; n++) {
            float want = 0.0f;
            for (int k = 0; k < 200; k++) want += a[k * 70 + m] * b[k * 33 + n];
            if (out[m * 33 + n] != want) return printf("%d %d: %f, not %f\n", m, n, out[m * 33 + n], want), 1;
        }
        if (accumulate(sum, x)) return puts(nki_native_error()), 1;
    }
    for (int i = 0; i < 130 * 3; i++) if (sum[i] != (float)i + 8.0f) return printf("%d: %f\n", i, sum[i]), 1;
    puts("right");
    return 0;
}
"#;
    assert_eq!(printed(&run("two_kernels", &objects, main)), "right\n");
}

#[test]
fn threads_may_call_at_once() {
    let main = r#"
#include "nki_product.h"
#include <pthread.h>
#include <stdio.h>

static float a[200 * 70], b[200 * 33];

static void *work(void *out) {
    for (int i = 0; i < 20; i++) if (nki_product(a, b, out)) return "failed";
    return 0;
}

int main(void) {
    static float out[4][70 * 33];
    pthread_t thread[4];
    for (int i = 0; i < 200 * 70; i++) a[i] = 0.25f;
    for (int i = 0; i < 200 * 33; i++) b[i] = 2.0f;
    for (int i = 0; i < 4; i++) pthread_create(&thread[i], 0, work, out[i]);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(thread[i], &failed);
        if (failed) return puts(failed), 1;
        for (int j = 0; j < 70 * 33; j++) if (out[i][j] != 100.0f) return printf("%f\n", out[i][j]), 1;
    }
    puts("right");
    return 0;
}
"#;
    assert_eq!(printed(&run("threads", &[&object(PRODUCT, None)], main)), "right\n");
}

/// Rows at positions that are known at run time only.
const ROWS: &str = "nki-ir 1

kernel @rows(
  %table: in hbm<f32, [5, 2]>,
  %at: in hbm<i32, [3, 1]>,
  %out: out hbm<f32, [3, 2]>,
) {
  %i = alloc sbuf<i32, [3, 1]>
  dma_copy %i, %at
  %rows = alloc sbuf<f32, [3, 2]>
  dma_copy %rows, %table[0:3, :].rows(%i)
  dma_copy %out, %rows
}
";

#[test]
fn an_index_is_checked_when_it_is_known() {
    let main = r#"
#include "nki_rows.h"
#include <stdio.h>

int main(void) {
    float table[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, out[6];
    int32_t at[3] = {4, 0, 3};
    if (nki_rows(table, at, out) || out[0] != 8 || out[3] != 1 || out[4] != 6) return 1;
    at[1] = 5;
    printf("%d ", nki_rows(table, at, out));
    puts(nki_native_error());
    return 0;
}
"#;
    let text = printed(&run("rows", &[&object(ROWS, None)], main));
    assert!(text.starts_with("1 ") && text.contains("index 5 is outside axis 0 of `table`"), "{text}");
}

#[test]
fn what_goes_wrong_is_said() {
    let main = r#"
#include "nki_product.h"
#include <stdio.h>

static float a[200 * 70], out[70 * 33];

int main(void) {
    printf("%d ", nki_product(a, 0, out));
    puts(nki_native_error());
    return 0;
}
"#;
    let text = printed(&run("null", &[&object(PRODUCT, None)], main));
    assert!(text.starts_with("2 ") && text.contains("`b` is a null pointer"), "{text}");

    // An object file of another version is refused.
    let mut other = object(PRODUCT, None);
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let places: Vec<usize> =
        (0..other.object.len() - version.len()).filter(|&i| other.object[i..].starts_with(version)).collect();
    assert!(!places.is_empty());
    for at in places {
        other.object[at] = b'9';
    }
    let main = main.replace("(a, 0, out)", "(a, a, out)");
    let text = printed(&run("version", &[&other], &main));
    assert!(text.starts_with("2 ") && text.contains("version"), "{text}");
}

#[test]
fn names_are_identifiers_of_c() {
    let kernel = text::parse(SUM, "test").unwrap();
    let verified = resolve_and_verify(kernel, Target::Trn2).unwrap();
    for name in ["", "1st", "a-b", "int"] {
        let Err(errors) = build(&verified, Some(name)) else { panic!("`{name}` was taken") };
        assert!(errors.to_string().contains("not an identifier"), "{errors}");
    }
}
