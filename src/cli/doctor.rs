//! `nki doctor`: what this machine and this build can do.

use super::context::{Context, Outcome};
use nki_ir::{Diagnostics, Target};
use serde_json::{Value, json};

pub fn run(context: &Context) -> Result<Outcome, Diagnostics> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let facts = [
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("architecture", json!(std::env::consts::ARCH)),
        ("system", json!(std::env::consts::OS)),
        ("threads", json!(threads)),
        ("vector extensions", json!(extensions())),
        ("native execution", json!(cfg!(feature = "jit"))),
        ("optimised build", json!(!cfg!(debug_assertions))),
    ];
    for (name, value) in &facts {
        context.say(format!("{name:18} {}", plain(value)));
    }
    context.say("\ntarget  generation  SBUF per partition  HBM");
    for t in Target::ALL {
        let (sbuf, hbm) = (t.sbuf_bytes_per_partition(), t.hbm_bytes() >> 30);
        context.say(format!("{t:7} {:11} {sbuf:>10} bytes    {hbm:>3} GiB", format!("{:?}", t.generation())));
    }
    let targets = Target::ALL.map(|t| {
        json!({
            "name": t.name(),
            "generation": format!("{:?}", t.generation()).to_lowercase(),
            "sbuf_bytes_per_partition": t.sbuf_bytes_per_partition(),
            "hbm_bytes": t.hbm_bytes(),
        })
    });
    let facts: serde_json::Map<String, Value> =
        facts.into_iter().map(|(name, value)| (name.replace(' ', "_"), value)).collect();
    Ok(Outcome::ok(json!({ "schema": "nki.doctor/1", "facts": facts, "targets": targets })))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Bool(b) => if *b { "yes" } else { "no" }.to_string(),
        Value::Array(list) if list.is_empty() => "none".to_string(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Vector extensions that the native code can use, as the processor reports them.
fn extensions() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let found = [
            ("avx2", std::arch::is_x86_feature_detected!("avx2")),
            ("fma", std::arch::is_x86_feature_detected!("fma")),
            ("f16c", std::arch::is_x86_feature_detected!("f16c")),
            ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
            ("avx512bf16", std::arch::is_x86_feature_detected!("avx512bf16")),
        ];
        found.into_iter().filter(|f| f.1).map(|f| f.0).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        Vec::new()
    }
}
